import math

import pytest
import torch
import torch.nn.functional as F

from bnn_train.data import balance
from bnn_train.data.mixup import Mix
from bnn_train.data.splits import Split
from bnn_train.training import losses


def test_cross_entropy_with_smoothed_labels_by_hand(small):
    """Two classes with logits 0 and log 3: probabilities 1/4 and 3/4; a share of 0.2 is spread over both."""
    loss = losses.build(small("trainer.label_smoothing=0.2"))
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = -(0.1 * math.log(1 / 4) + 0.9 * math.log(3 / 4))
    assert math.isclose(loss(torch.zeros(1, 1), logits, torch.tensor([1])).item(), expected, rel_tol=1e-6)


def test_squared_hinge_by_hand(small):
    """Margins 1 - t z of the first image: 0.5 and 0 (beyond the margin); of the second: 3 and 1."""
    loss = losses.build(small("loss=squared_hinge"))
    logits = torch.tensor([[0.5, -1.5], [2.0, 0.0]], requires_grad=True)
    value = loss(torch.zeros(2, 1), logits, torch.tensor([0, 1]))
    assert value.item() == (0.5**2 + 0 + 3**2 + 1**2) / 4
    value.backward()
    assert logits.grad.tolist() == [[-2 * 0.5 / 4, 0], [2 * 3 / 4, -2 * 1 / 4]]


def split_of(labels):
    return Split(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), torch.tensor(labels))


def test_balanced_weights_by_hand():
    """Six images in three classes of four, with 1, 2 and 3 of them: 6 / (3 n); their mean over the images is 1."""
    split = split_of([0, 1, 1, 3, 3, 3])
    weights = balance.weights(split, 4)
    assert weights.tolist() == pytest.approx([2, 1, 1, 2 / 3])
    assert weights[split.labels].mean().item() == pytest.approx(1)
    assert balance.weights(split_of([0, 1, 0, 1]), 2).tolist() == [1, 1]


@pytest.mark.parametrize("overrides", [(), ("trainer.label_smoothing=0.2",), ("loss=squared_hinge",)])
def test_a_balanced_loss_is_the_mean_of_the_classes_own_losses(small, overrides):
    """Over all images, each class counts by its mean loss alone; and each image by its weight, whatever else is in its batch."""
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    plain, inputs = losses.build(small(*overrides)), torch.zeros(6, 1)
    weights = balance.weights(split_of(labels.tolist()), 3)
    weighted = losses.build(small(*overrides), weights)
    means = [plain(inputs[labels == c], logits[labels == c], labels[labels == c]) for c in range(3)]
    assert weighted(inputs, logits, labels).item() == pytest.approx(torch.stack(means).mean().item(), rel=1e-6)
    one = slice(0, 1)
    assert weighted(inputs[one], logits[one], labels[one]).item() == pytest.approx(
        2 * plain(inputs[one], logits[one], labels[one]).item()
    )


def test_mixup_weighs_each_of_the_two_labels_by_its_own_class(small):
    weights, labels = torch.tensor([3.0, 0.5]), torch.tensor([0, 1])
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    loss = losses.build(small(), weights)
    found = Mix(0.75, torch.tensor([1, 0])).loss(lambda of: loss(logits, logits, of), labels)
    each = -F.log_softmax(logits, dim=1)
    expected = (0.75 * (3 * each[0, 0] + 0.5 * each[1, 1]) + 0.25 * (0.5 * each[0, 1] + 3 * each[1, 0])) / 2
    assert found.item() == pytest.approx(expected.item())


def test_the_trainer_weighs_by_its_training_images_where_it_is_asked_to(trainer):
    logits, labels = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    plain, balanced = trainer(), trainer("trainer.class_weights=balanced")
    assert plain.loss(logits, logits, labels) == F.cross_entropy(logits, labels)
    weights = balance.weights(balanced.data.train, 10)
    assert balanced.loss(logits, logits, labels) == (weights[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()
