import pytest
import torch

from bnn_train.data import mixup

CPU = torch.device("cpu")


def test_a_batch_by_hand():
    """Three quarters of each image and a quarter of another one; the loss is that of both labels in the same shares."""
    mix = mixup.Mix(0.75, torch.tensor([2, 0, 1]))
    inputs = torch.tensor([0.0, 4.0, 8.0]).view(3, 1, 1, 1)
    assert mix.inputs(inputs).flatten().tolist() == [2.0, 3.0, 7.0]
    seen = []

    def loss(labels):
        seen.append(labels.tolist())
        return labels.double().pow(2).mean()

    assert mix.loss(loss, torch.tensor([1, 2, 3])).item() == pytest.approx(14 / 3)
    assert seen == [[1, 2, 3], [3, 1, 2]]


def test_draws_are_a_function_of_seed_and_epoch():
    def drawn(seed, epoch):
        return [(mix.share, mix.others.tolist()) for mix in mixup.draw(0.3, 5, 8, seed, epoch, CPU)]

    first = drawn(2**63 - 1, 3)
    torch.manual_seed(1)
    assert first == drawn(2**63 - 1, 3)
    assert len(first) == 5
    others = [drawn(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(a != b for i, a in enumerate(others) for b in others[:i])
    assert all(sorted(order) == list(range(8)) for _, order in first)
    assert len({tuple(order) for _, order in first}) == 5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_the_larger_part_of_a_beta_distribution(alpha):
    """(max(lambda, 1 - lambda) - 1/2)^2 has the mean of (lambda - 1/2)^2, the variance 1 / (4 (2 alpha + 1))."""
    shares = torch.tensor([mix.share for mix in mixup.draw(alpha, 20_000, 2, 0, 0, CPU)], dtype=torch.float64)
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    assert (shares - 0.5).square().mean().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


@pytest.mark.parametrize("alpha", [5e-324, 1e-9, 1e9, 1.7e308])
def test_the_smallest_and_the_largest_alpha_give_shares(alpha):
    assert all(0.5 <= mix.share <= 1 for mix in mixup.draw(alpha, 100, 2, 0, 0, CPU))
