import logging

import pytest
import torch

from bnn_train.binary import packed, probe, products, ways
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.products import Conv2d, Linear

CONV = Conv2d((1, 1), (1, 1), (1, 1), 0)
pytestmark = pytest.mark.skipif(not ways.have_kernels("cpu"), reason="no llvmlite, or no AVX2")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(probe, "_found", {})


def broken(monkeypatch, module, name):
    """Lets a function lose the last bit of one number, as a wrong kernel might."""
    right = getattr(module, name)

    def wrong(*arguments, **options):
        result = right(*arguments, **options).clone()
        result.view(-1)[-1] += 1
        return result

    monkeypatch.setattr(module, name, wrong)


def test_a_right_product_is_said_nothing_of(caplog):
    assert probe.is_exact(Linear(), (100, 32), (24, 32))
    assert probe.is_exact(CONV, (12, 16, 5, 5), (8, 16, 3, 3))
    assert not caplog.records


def test_a_wrong_product_is_found_and_said_once(monkeypatch, caplog):
    broken(monkeypatch, packed.PackedWeights, "product")
    with caplog.at_level(logging.WARNING):
        assert not probe.is_exact(Linear(), (4, 8), (3, 8))
        assert not probe.is_exact(Linear(), (5, 8), (3, 8))
    (record,) = caplog.records
    assert record.getMessage() == (
        "kernels are not exact here (the product of 4x8 and 3x8): torch's products are used instead, which are slower"
    )


@pytest.mark.parametrize(("function", "said"), [("of_input", "the gradient of"), ("of_filters", "the weights' gradient of")])
def test_a_wrong_gradient_is_found(function, said, monkeypatch, caplog):
    right = getattr(products.tables, function)
    monkeypatch.setattr(products.tables, function, lambda *arguments: right(*arguments) + 1)
    assert not probe.is_exact(CONV, (4, 16, 5, 5), (8, 16, 3, 3))
    assert said in caplog.text


def test_code_that_may_not_be_executed_is_not_used(monkeypatch, caplog):
    def forbidden(*arguments):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(packed.training, "SignConvolution", forbidden)
    assert not probe.is_exact(Linear(), (4, 8), (3, 8))
    assert "Operation not permitted" in caplog.text


def test_layers_go_on_by_torch(monkeypatch):
    """With the numbers that they would have."""
    monkeypatch.setattr(ways, "SMALLEST", 0)
    layers = (BinaryLinear(8, 3), torch.randn(4, 8)), (BinaryConv2d(8, 3, 3), torch.randn(2, 8, 5, 5))
    right = [layer(x) for layer, x in layers]
    assert all("_BinaryProduct" in type(y.grad_fn).__name__ for y in right)
    monkeypatch.setattr(probe, "_found", {})
    broken(monkeypatch, packed.PackedWeights, "product")
    for y, (layer, x) in zip(right, layers, strict=True):
        assert torch.equal(layer(x), y)
        assert "_BinaryProduct" not in type(layer(x).grad_fn).__name__


def test_torchs_generator_stays_as_it_was():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    probe.is_exact(Linear(), (4, 8), (3, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_probed_with_few_images(monkeypatch):
    seen = []
    monkeypatch.setattr(probe, "_difference", lambda geometry, x, w: seen.append(x) or "")
    for count in (1000, 100, 3):
        assert probe.is_exact(CONV, (count, 4, 5, 5), (3, 4, 3, 3))
    assert seen == [(8, 4, 5, 5), (3, 4, 5, 5)]
