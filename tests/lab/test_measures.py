import math

import pytest
import torch

from bnn_train.lab import measures

BLOCKS = {"layer 1": slice(0, 2), "output": slice(2, 3)}
EXACT = torch.tensor([3.0, 4.0, 12.0], dtype=torch.float64)  # norms 5 and 12, 13 in all


def test_the_exact_gradient_is_perfect():
    found = measures.measure(EXACT[None].float(), EXACT, BLOCKS, 20)
    for block in ("layer 1", "output", "all"):
        assert (found[block]["bias"], found[block]["std"]) == (0, 0)
        assert set(found[block]["rmse"].values()) == {0.0}
        assert all(values == pytest.approx([1, 1, 1]) for values in found[block]["cosine"].values())


def test_bias_and_variance_by_hand():
    """Two equally likely values around a mean that is off by (0.5, 0, 0): the sample has each half of the time."""
    offset = torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)
    spread = torch.tensor([0.0, 2.0, 6.0], dtype=torch.float64)
    samples = torch.stack([EXACT + offset + spread, EXACT + offset - spread]).repeat(500, 1).float()
    found = measures.measure(samples, EXACT, BLOCKS, len(samples))
    assert found["layer 1"]["std"] == pytest.approx(2 / 5, rel=1e-3)
    assert found["output"]["std"] == pytest.approx(6 / 12, rel=1e-3)
    assert found["all"]["std"] == pytest.approx(math.sqrt(40) / 13, rel=1e-3)
    assert found["layer 1"]["bias"] == pytest.approx(math.sqrt(0.1**2 - (2 / 5) ** 2 / 1000), rel=1e-3)
    assert found["layer 1"]["bias_floor"] == pytest.approx(math.sqrt(8 * math.sqrt(2) * 4 / 1000) / 5, rel=1e-3)  # C = diag(0, 4)
    assert found["output"]["bias"] == 0
    assert found["layer 1"]["rmse"][1] == pytest.approx(math.sqrt(0.25 + 4) / 5, rel=1e-3)
    assert found["layer 1"]["rmse"][2] == pytest.approx(0.1, rel=1e-3)  # the spread cancels in pairs
    up = (3 * 3.5 + 4 * 6) / 5 / math.hypot(3.5, 6)
    down = (3 * 3.5 + 4 * 2) / 5 / math.hypot(3.5, 2)
    assert found["layer 1"]["cosine"][1] == pytest.approx([(up + down) / 2, down, up], rel=1e-3)


def test_the_bias_of_an_unbiased_estimator_cannot_be_told_from_none():
    torch.manual_seed(0)
    for scale in (torch.tensor([5.0, 5.0, 5.0]), torch.tensor([5.0, 0.1, 0.0])):  # in all directions, and in one alone
        for _ in range(50):
            samples = (EXACT + scale * torch.randn(400, 3, dtype=torch.float64)).float()
            found = measures.measure(samples, EXACT, BLOCKS, len(samples))
            assert all(found[block]["bias"] <= found[block]["bias_floor"] for block in found)
            shifted = measures.measure(samples + torch.tensor([3.0, 0.0, 0.0]), EXACT, BLOCKS, len(samples))
            assert shifted["all"]["bias"] > shifted["all"]["bias_floor"]
    samples = (EXACT + 5 * torch.randn(4000, 3, dtype=torch.float64)).float()
    found = measures.measure(samples, EXACT, BLOCKS, len(samples))
    assert found["all"]["rmse"][100] == pytest.approx(found["all"]["std"] / 10, rel=0.2)


def test_averages_are_means_of_consecutive_samples_and_at_least_two():
    samples = torch.arange(25.0)[:, None]
    found = dict(measures.averages(samples, 25))
    assert found[10].flatten().tolist() == [4.5, 14.5]
    assert found[1].flatten().tolist() == list(range(25))
    assert max(found) == 10
    assert [count for count, _ in measures.averages(samples[:1], 25)] == list(found)
    assert measures.GRID[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30]
    assert measures.GRID[-1] == 9000


def test_improvement_is_1_for_the_exact_gradient_minus_for_its_opposite_and_less_for_others():
    """On a linear loss a step's gain is its cosine."""
    theta = torch.zeros(3, dtype=torch.float64)

    def loss(at):
        return at @ EXACT

    def gains(direction):
        return measures.improvements(direction[None].float(), EXACT, BLOCKS, theta, loss, 0.1, 2)

    assert gains(EXACT)["all"][1] == pytest.approx(1)
    assert gains(-EXACT)["all"][1] == pytest.approx(-1)
    sideways = gains(torch.tensor([3.0, -4.0, 0.0]))
    assert sideways["layer 1"][1] == pytest.approx((9 - 16) / 25)
    assert sideways["output"][1] == 0  # a zero gradient moves nothing
    assert sideways["all"][1] == pytest.approx((9 - 16) / 5 / 13)
