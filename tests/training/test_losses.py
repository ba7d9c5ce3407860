import math

import torch

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
