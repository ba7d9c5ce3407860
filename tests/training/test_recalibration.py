import pytest
import torch
from torch import nn

from bnn_train.data.batches import train_batches
from bnn_train.training.recalibration import batches, norms, recalibrate


def test_statistics_are_means_over_the_batches_by_hand():
    """Of the second BatchNorm, too, whose inputs the first one has normalised by each batch's own statistics; dropout is off."""
    model = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.9), nn.BatchNorm1d(1, affine=False, momentum=0.3))
    model(torch.randn(7, 1))
    inputs = [torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [9.0]]), torch.tensor([[1.0], [2.0], [3.0]])]
    model[0].weight.data.fill_(3.0)
    recalibrate(model, inputs)
    assert model[0].running_mean.item() == pytest.approx((1 + 7 + 2) / 3)
    assert model[0].running_var.item() == pytest.approx((2 + 8 + 1) / 3)  # of a sample
    assert model[2].running_mean.item() == pytest.approx(0, abs=1e-6)
    assert model[2].running_var.item() == pytest.approx(9 * (2 + 2 + 1.5) / 3, rel=1e-4)
    assert model[2].momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_nothing_else_changes_and_nothing_is_drawn(trainer):
    t = trainer("ste=logistic", "ste.stochastic=true", "model.dropout=0.3", "weights=stompp", "data.crop_padding=1", "data.mixup=1")
    t.train_epoch()
    before, random = {name: tensor.clone() for name, tensor in t.model.state_dict().items()}, torch.get_rng_state()
    recalibrate(t.model, batches(t.data.train, t.config, 0))
    assert torch.equal(torch.get_rng_state(), random)
    statistics = {f"{name}.{key}" for name in norms(t.model) for key in ("running_mean", "running_var", "num_batches_tracked")}
    changed = {name for name, tensor in t.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in statistics if "tracked" not in name} <= changed <= statistics


def test_images_are_augmented_as_in_training_and_not_mixed(trainer):
    t = trainer("data.crop_padding=1", "data.mixup=1", "trainer.batch_size=700")
    found = list(batches(t.data.train, t.config, 3, most=1))
    (expected, _), *_ = train_batches(t.data.train, t.config.data, 700, t.config.seed, 3)
    assert len(found) == 1
    assert torch.equal(found[0], expected)
    assert len(list(batches(t.data.train, t.config, 3))) == 2


def test_a_network_without_batch_norm_stays_as_it_is():
    recalibrate(nn.Linear(1, 1), iter(()))
