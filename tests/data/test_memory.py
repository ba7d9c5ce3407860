import pytest
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import memory
from bnn_train.errors import ConfigError

CPU = torch.device("cpu")
FOLDER = DataConfig("image_folder")


def test_room(monkeypatch):
    assert memory.room(4, (3, 2, 2), FOLDER).shape == (4, 3, 2, 2)
    monkeypatch.setattr(memory, "total", lambda: None)
    assert memory.room(4, (3, 2, 2), FOLDER).dtype == torch.uint8


def test_more_than_the_machine_has(monkeypatch):
    monkeypatch.setattr(memory, "total", lambda: 2_000_000_000)
    message = (
        r"data\.image_size=null: 1,000 images of 1500x1000, 3 channels, need 4\.5 GB of memory, and there are 2\.0 GB; "
        "set one, such as 64, data.grayscale=true for a third of it, take fewer images, or leave them on the disk with "
        "data.memory=disk"
    )
    with pytest.raises(ConfigError, match=message):
        memory.room(1000, (3, 1000, 1500), FOLDER)
    with pytest.raises(ConfigError, match=r"data\.image_size=1000: .*; choose a smaller one, take fewer images, or leave them"):
        memory.room(1000, (3, 1000, 1000), DataConfig("image_folder", image_size=1000, grayscale=True))


@pytest.mark.parametrize("known", [True, False])
def test_more_than_torch_gets(monkeypatch, known):
    if not known:
        monkeypatch.setattr(memory, "total", lambda: None)
    with pytest.raises(ConfigError, match=r"need .* GB of memory, (and there are|more than the system gives)"):
        memory.room(2**40, (3, 2**12, 2**12), FOLDER)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
@pytest.mark.parametrize(("name", "key"), [("image_folder", "data.image_size"), ("mnist", "data.train_limit")])
def test_memory_that_runs_out_later(error, name, key):
    with (
        pytest.raises(ConfigError, match=f"{key}=null: the images of data={name} take more than the memory"),
        memory.named(DataConfig(name), CPU),
    ):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="else"), memory.named(FOLDER, CPU):
        raise RuntimeError("something else")


def test_the_limit_of_a_container(tmp_path):
    machine = memory.total(tmp_path / "none")
    assert machine is None or machine > 10**8
    (tmp_path / "limit").write_text("12345\n")
    assert memory.total(tmp_path / "limit") in (12345, None)
    (tmp_path / "limit").write_text("max\n")
    assert memory.total(tmp_path / "limit") == machine


def test_what_is_free(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemFree: 1 kB\nMemAvailable:   500 kB\n")
    for name, text in (("memory.max", "400000"), ("memory.current", "300000"), ("memory.stat", "anon 5\ninactive_file 50000\n")):
        (tmp_path / name).write_text(text)
    assert memory.available(tmp_path / "meminfo", tmp_path) == 150_000  # of the container, files that give way included
    (tmp_path / "memory.max").write_text("max")
    assert memory.available(tmp_path / "meminfo", tmp_path) == 512_000
    monkeypatch.setattr(memory.ranks, "count", lambda: 4)
    assert memory.available(tmp_path / "meminfo", tmp_path) == 128_000
    assert memory.available(tmp_path / "none", tmp_path / "none") in (None, (memory.total(tmp_path / "none") or 0) // 4)


def test_too_many_for_memory(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    assert not memory.are_too_many(20, (1, 4, 5), CPU)  # 40%
    assert memory.are_too_many(21, (1, 4, 5), CPU)
    monkeypatch.setattr(memory, "available", lambda: None)
    assert not memory.are_too_many(10**9, (1, 4, 5), CPU)
