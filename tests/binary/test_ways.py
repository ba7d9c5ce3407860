"""The written rule of which way a product goes."""

import pytest

from bnn_train.binary import ways
from bnn_train.binary.products import Conv2d, Linear

ONE = (1, 1)


def test_the_size_of_a_product_is_its_multiplications():
    assert ways.size(Linear(), (50, 784), (2048, 784)) == 50 * 784 * 2048
    assert ways.size(Linear(), (1000, 784), (2048, 784)) == 64 * 784 * 2048  # a large batch of an evaluation changes nothing
    assert ways.size(Conv2d(ONE, ONE, ONE, 0), (8, 16, 32, 32), (24, 16, 3, 3)) == 8 * 32 * 32 * 24 * 16 * 9
    assert ways.size(Conv2d((2, 2), ONE, ONE, 0), (8, 16, 32, 32), (24, 16, 3, 3)) == 8 * 16 * 16 * 24 * 16 * 9


@pytest.mark.parametrize("have", [False, True])
def test_large_products_of_whole_bytes_go_by_kernels_where_there_are_some(have, monkeypatch):
    monkeypatch.setattr(ways, "have_kernels", lambda device_type: have and device_type == "cpu")
    assert ways.by_kernels(Linear(), (64, 512), (512, 512), "cpu") == have
    assert not ways.by_kernels(Linear(), (64, 512), (511, 512), "cpu")  # too small
    assert not ways.by_kernels(Linear(), (64, 516), (512, 516), "cpu")  # half a byte is left
    assert not ways.by_kernels(Linear(), (64, 512), (512, 512), "cuda")


def test_what_products_go_by_is_said_in_a_line(monkeypatch):
    small, large = (64, 1000), (64, ways.SMALLEST)
    monkeypatch.setattr(ways, "have_kernels", lambda device_type: False)
    assert ways.line([large], "cuda") == "products of signs, in 1 layer: torch's float32 (cuda)"
    assert ways.line([large], "cpu").startswith("products of signs, in 1 layer: torch's float32 (no AVX2")
    monkeypatch.setattr(ways.importlib.util, "find_spec", lambda name: None)
    assert (
        ways.line([large], "cpu")
        == "products of signs, in 1 layer: torch's float32 (llvmlite is not installed: pip install llvmlite)"
    )
    monkeypatch.setattr(ways, "have_kernels", lambda device_type: True)
    monkeypatch.setattr(ways.tables, "lanes", lambda: 8)
    assert ways.line([], "cpu") == "products: torch's, none is of signs alone"
    assert ways.line([large, large], "cpu") == "products of signs, in 2 layers: kernels for AVX2"
    found = ways.line([large, small, (63, ways.SMALLEST)], "cpu")
    assert found.startswith("products of signs, in 3 layers: kernels for AVX2 in 1, torch's float32 (fewer than 16,777,216")
    assert found.endswith("in 2")
    assert ways.line([large], "cpu", is_compiled=True).endswith("torch's float32 (trainer.compile=true)")
    assert ways.line([small], "cpu").startswith("products of signs, in 1 layer: torch's float32 (fewer than")
