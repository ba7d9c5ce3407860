import pytest
import torch
from torch import nn

from bnn_train.optim.bop import Bop


def test_the_rule_on_a_worked_example():
    """gamma 1/2, threshold 1: means after each step by hand, and the flips that they cause."""
    w = nn.Parameter(torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0]))
    optimizer = Bop([w], threshold=1.0, gamma=0.5)
    w.grad = torch.tensor([2.0, -4.0, -1.0, -8.0, 0.0])
    optimizer.step()
    # means 1, -2, -0.5, -4, 0: the first reaches the threshold; the second and third are of the other sign or too small; the fourth
    assert w.tolist() == [-1, 1, -1, 1, 1]
    w.grad = torch.tensor([-3.0, 2.0, -3.5, 6.0, 2.0])
    optimizer.step()
    # means -1 (agrees with the flipped weight: flips back), 0, -2 (flips), 1 (flips back), 1 (flips)
    assert optimizer.state[w]["mean"].tolist() == [-1, 0, -2, 1, 1]
    assert w.tolist() == [1, 1, 1, -1, -1]


def test_threshold_0_flips_every_agreement_but_no_weight_without_gradient():
    w = nn.Parameter(torch.tensor([1.0, -1.0, 1.0]))
    optimizer = Bop([w], threshold=0.0, gamma=1.0)
    w.grad = torch.tensor([1e-20, 1e-20, 0.0])
    optimizer.step()
    assert w.tolist() == [-1, -1, 1]


def test_weights_stay_binary_and_state_survives_a_checkpoint():
    torch.manual_seed(0)
    runs = []
    for split in (False, True):
        torch.manual_seed(1)
        w = nn.Parameter(torch.randn(50).sign())
        optimizer = Bop([w], threshold=0.05, gamma=0.1)
        for i in range(40):
            if split and i == 20:
                state, optimizer = optimizer.state_dict(), Bop([w], threshold=9.0, gamma=0.9)
                optimizer.load_state_dict(state)
            w.grad = torch.randn(50)
            optimizer.step()
            assert set(w.tolist()) <= {-1.0, 1.0}
        runs.append(w.detach().clone())
    assert torch.equal(*runs)


def test_real_weights_are_refused():
    with pytest.raises(ValueError, match="-1 or"):
        Bop([nn.Parameter(torch.tensor([0.5]))])
