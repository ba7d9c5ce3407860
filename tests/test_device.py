import os
import random

import pytest
import torch

from bnn_train import device
from bnn_train.errors import ConfigError


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose("auto") == torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose("auto") == torch.device("cpu")


def test_a_cuda_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.choose("cuda") == torch.device("cuda:0")
    assert device.choose("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="device=cuda:2: is not there; use one of cuda:0, cuda:1, cpu"):
        device.choose("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=cuda:0: torch finds no CUDA device here"):
        device.choose("cuda:0")


def test_a_name_that_is_no_device():
    with pytest.raises(ConfigError, match="device=foo: must be one of auto, cpu"):
        device.choose("foo")


def test_mps_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device=mps: torch finds no MPS device here"):
        device.choose("mps")


def test_reproducible_settings_are_set_anew():
    torch.use_deterministic_algorithms(False)
    torch.rand(5)
    device.make_reproducible(3)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.initial_seed() == 3
    first = torch.rand(4), random.random()
    device.make_reproducible(3)
    assert torch.equal(torch.rand(4), first[0])
    assert random.random() == first[1]


def test_products_on_a_gpu_are_rounded_only_if_asked():
    for precision, expected in (("float32", "highest"), ("fast", "high")):
        device.make_reproducible(0, torch.device("cuda"), precision)
        assert torch.get_float32_matmul_precision() == expected
        assert torch.backends.cudnn.allow_tf32 == (precision == "fast")
        device.make_reproducible(0, torch.device("cpu"), precision)
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32


def test_compiling_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"trainer\.compile=true: needs a C\+\+ compiler, but there is no no-such-compiler"):
        device.check_compiler()


def test_a_compiler_that_does_not_work(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, but false does not work; set CXX to one that does"):
        device.check_compiler()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("could not create a memory object"),
        RuntimeError("Storage size calculation overflowed with sizes=[10000000000, 10000000000]"),
    ],
)
def test_running_out_of_memory_names_what_to_lower(error):
    message = r"trainer\.batch_size=8: there is not enough memory for it; lower it"
    with pytest.raises(ConfigError, match=message), device.memory_for("trainer.batch_size", 8, "lower it"):
        raise error


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), device.memory_for("trainer.batch_size", 8, "lower it"):
        raise RuntimeError("shapes do not match")


def test_how_much_memory_there_is(monkeypatch):
    """Of a processor by POSIX's own count; where a system does not tell, nothing is refused."""
    assert device.memory(device.CPU) > 2**28
    monkeypatch.delattr(os, "sysconf")
    assert device.memory(device.CPU) is None
