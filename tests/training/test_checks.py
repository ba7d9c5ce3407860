import pytest
import torch

from bnn_train.binary.ste import sign
from bnn_train.errors import Diverged


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_epoch_and_step(trainer, bad):
    def poison(trainer):
        if (t.epoch, t.step) == (1, 4):
            t.model.output.bias.data[3] = bad

    t = trainer(after_step=poison)
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch 2, step 5; lower optimizer\.lr=0\.01"):
        list(t.fit())
    assert len(t.history) == 1


def test_a_nan_that_a_sign_hides_is_found(trainer):
    """sign(NaN) is +1, so the loss stays finite: the check of parameters must see it."""
    assert sign(torch.tensor(float("nan"))).isfinite()
    t = trainer("weights.clip=null")
    fit = t.fit()
    next(fit)
    t.model.linear2.weight.data[0, 0] = float("nan")
    with pytest.raises(Diverged, match=r"linear2\.weight holds NaN or infinity"):
        next(fit)
