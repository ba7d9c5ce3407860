import pytest
import torch

from bnn_train.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.5, 0.1, 0.999])
def test_drops_with_probability_p_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(100, 1003)  # not a multiple of four
    y = Dropout(p)(x)
    assert y.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-2)]
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=4 * deviation + 1 / 65536)


def test_each_sixteen_bits_are_a_draw_of_their_own():
    """Neighbours are as independent as distant elements."""
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).double()
    for distance in range(1, 9):
        assert abs(((dropped[distance:] - 0.5) * (dropped[:-distance] - 0.5)).mean().item()) < 4 * 0.25 / 400_000**0.5


def test_the_gradient_is_that_of_what_was_kept():
    torch.manual_seed(0)
    x = torch.randn(50, requires_grad=True)
    y = Dropout(0.25)(x)
    y.backward(torch.ones(50))
    assert torch.equal(x.grad, torch.where(y == 0, 0.0, 1 / 0.75))


def test_does_nothing_in_evaluation_and_at_zero():
    x = torch.randn(5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_the_largest_probability_leaves_something_finite():
    assert Dropout(1 - 1e-9)(torch.ones(1000)).isfinite().all()


def test_draws_come_from_torchs_generator():
    torch.manual_seed(3)
    first = Dropout(0.5)(torch.ones(64))
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(torch.ones(64)), first)


def test_other_devices_use_torchs_own(monkeypatch):
    """It is one loop there, and MPS cannot draw 64 bits."""
    monkeypatch.setattr("torch.nn.functional.dropout", lambda x, p: ("torch's", p))
    assert Dropout(0.25)(torch.ones(3, device="meta")) == ("torch's", 0.25)
