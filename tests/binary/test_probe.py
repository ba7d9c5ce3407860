import logging

import pytest
import torch

from bnn_train.binary import probe, products, ways
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.products import Conv2d, Linear

CONV = Conv2d((1, 1), (1, 1), (1, 1), 0)
FORWARD, FAST = ways.Way("int8", "float32"), ways.Way("int8", "int8")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(probe, "_found", {})


def broken(monkeypatch, name):
    """Lets the operator lose the last bit of one sum, as a wrong kernel might."""
    module = torch if name == "_int_mm" else torch.ops.onednn
    right = getattr(module, name)

    def wrong(*arguments):
        result = right(*arguments).clone()
        result.view(-1)[-1] += 1
        return result

    monkeypatch.setattr(module, name, wrong)


def test_a_wrong_product_is_found_and_said_once(monkeypatch, caplog):
    broken(monkeypatch, "_int_mm")
    with caplog.at_level(logging.WARNING):
        assert not probe.is_exact(Linear(), (4, 8), (3, 8), FORWARD)
        assert not probe.is_exact(Linear(), (5, 8), (3, 8), FORWARD)
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "int8 products are not exact here (the product of 4x8 and 3x8): others are used instead, which are slower"
    )


@pytest.mark.parametrize("geometry", [Linear(), CONV])
def test_an_operator_that_is_gone_or_takes_other_arguments_is_not_used(geometry, monkeypatch, caplog):
    x_shape, w_shape = ((4, 8), (3, 8)) if geometry == Linear() else ((2, 4, 5, 5), (3, 4, 3, 3))
    monkeypatch.delattr(torch, "_int_mm")
    monkeypatch.setattr(products, "_Convolution", lambda *arguments: torch.ops.onednn.no_such_operator)
    assert not probe.is_exact(geometry, x_shape, w_shape, FAST)
    assert "others are used instead" in caplog.text


def test_a_gradient_that_overflows_is_found(monkeypatch):
    """As on processors whose instructions add two products in 16 bits: these saturate, where the forward product does not."""
    right = torch._int_mm

    def saturating(a, b):
        pairs = [
            right(a[:, i : i + 2].contiguous(), b[i : i + 2].contiguous()).clamp(-(2**13), 2**13) for i in range(0, a.shape[1], 2)
        ]
        return torch.stack(pairs).sum(0).to(torch.int32)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert probe.is_exact(Linear(), (6, 8), (4, 8), FORWARD)
    assert not probe.is_exact(Linear(), (6, 8), (4, 8), FAST)


def test_layers_go_on_in_float32(monkeypatch):
    """With the numbers that they would have."""
    monkeypatch.setattr(ways, "int8_is_fast", lambda device_type: True)
    layers = (BinaryLinear(8, 3), torch.randn(4, 8)), (BinaryConv2d(4, 3, 3), torch.randn(2, 4, 5, 5))
    right = [layer(x) for layer, x in layers]
    monkeypatch.setattr(probe, "_found", {})
    broken(monkeypatch, "_int_mm")
    broken(monkeypatch, "qconv2d_pointwise")
    for y, (layer, x) in zip(right, layers, strict=True):
        assert torch.equal(layer(x), y)


def test_torchs_generator_stays_as_it_was():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    probe.is_exact(Linear(), (4, 8), (3, 8), FAST)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_convolution_is_probed_with_few_images(monkeypatch):
    seen = []
    monkeypatch.setattr(probe, "_difference", lambda geometry, x, w, by: seen.append(x) or "")
    for count in (1000, 100, 3):
        assert probe.is_exact(CONV, (count, 4, 5, 5), (3, 4, 3, 3), FORWARD)
    assert seen == [(8, 4, 5, 5), (3, 4, 5, 5)]
