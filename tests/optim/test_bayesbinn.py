import math

import pytest
import torch
from torch import nn

from bnn_train.optim.bayesbinn import BayesBiNN


def test_one_step_by_hand():
    natural = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.float64))
    natural.grad = torch.tensor([0.3, -0.1], dtype=torch.float64)
    BayesBiNN([natural], train_size=50, lr=0.01).step()
    expected = [(1 - 0.01) * v - 0.01 * 50 * g / (1 - math.tanh(v) ** 2 + 1e-10) for v, g in ((0.5, 0.3), (-2.0, -0.1))]
    assert natural.tolist() == pytest.approx(expected)


def test_without_a_gradient_the_prior_draws_to_the_fair_coin():
    natural = nn.Parameter(torch.tensor([4.0]))
    natural.grad = torch.zeros(1)
    optimizer = BayesBiNN([natural], train_size=50, lr=0.1)
    for _ in range(10):
        optimizer.step()
    assert natural.item() == pytest.approx(4 * 0.9**10)


def test_the_mean_weight_learns_where_the_minimum_is():
    """E[(w - 1)^2 / 2] falls to the side of w = +1: g = w - 1 for a drawn w."""
    torch.manual_seed(0)
    natural = nn.Parameter(torch.zeros(100))
    optimizer = BayesBiNN([natural], train_size=10, lr=0.01)
    for _ in range(100):
        w = torch.where(torch.rand(100) < torch.sigmoid(2 * natural.detach()), 1.0, -1.0)
        natural.grad = w - 1
        optimizer.step()
    assert (natural > 1).all()
