import math

import torch

from bnn_train.config.trainer import TrainerConfig
from bnn_train.training import losses


def test_cross_entropy_with_smoothed_labels_by_hand():
    """Two classes with logits 0 and log 3: probabilities 1/4 and 3/4; a share of 0.2 is spread over both."""
    loss = losses.build(TrainerConfig(epochs=1, batch_size=2, label_smoothing=0.2))
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = -(0.1 * math.log(1 / 4) + 0.9 * math.log(3 / 4))
    assert math.isclose(loss(torch.zeros(1, 1), logits, torch.tensor([1])).item(), expected, rel_tol=1e-6)
