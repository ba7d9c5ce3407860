"""What samples of a gradient estimator tell: bias, variance, error and direction against the exact gradient, and what a step gains.

All are relative to the exact gradient's norm, block by block of the parameters, with "all" for the whole gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

GRID = [m * 10**power for power in range(4) for m in range(1, 10)]  # numbers of averaged samples: 1..9, 10..90, ..., 1000..9000
STEPS_AFTER = (1, 10, 100)  # averaged samples before a step whose gain is measured
STEPS = 100  # at most as many steps are tried


def measure(samples: Tensor, exact: Tensor, blocks: dict[str, slice], total: int) -> dict[str, dict[str, Any]]:
    """By block: what `samples`, (samples, parameters), say about the estimator of `exact`, (parameters,).

    bias: of the mean, without what its sampling error adds on average; bias_floor: what it must exceed to be told from none;
    std: root of the variance, summed over parameters; rmse: {M: root mean square error of means of M samples}; cosine: {M: [mean,
    15%, 85% percentile] of their cosine with `exact`}. M goes up to half of `total`, the number of samples of a noisy estimator.

    The floor: without bias the mean's squared error has the mean tr C / n and the standard deviation sqrt(2 tr C^2) / n, C the
    samples' covariance; eight of these above the mean is what one in two thousand unbiased estimators exceeds at most.
    """
    members = torch.zeros(len(exact), len(blocks) + 1)
    for i, block in enumerate(blocks.values()):
        members[block, i] = 1
    members[:, -1] = 1

    def norm(squares: Tensor) -> Tensor:
        return (squares.float() @ members).sqrt()

    exact32, size = exact.float(), norm(exact.square())
    mean = samples.double().mean(dim=0)
    variance = samples.double().var(dim=0) if len(samples) > 1 else torch.zeros_like(mean)
    bias, std = norm((mean - exact).square()) / size, norm(variance) / size
    bias = (bias.square() - std.square() / len(samples)).clamp(min=0).sqrt()
    covariance = samples.double().T.cov() if len(samples) > 1 else torch.zeros(len(exact), len(exact))
    spread = torch.stack([(covariance[:, m > 0][m > 0]).norm() for m in members.T])  # the root of tr C^2
    floor = (8 * 2**0.5 * spread.float() / len(samples)).sqrt() / size
    rmse: dict[int, Tensor] = {}
    cosine: dict[int, Tensor] = {}
    for count, means in averages(samples, total):
        rmse[count] = norm((means - exact32).square()).square().mean(dim=0).sqrt() / size
        directions = (means * exact32) @ members / (norm(means.square()) * size).clamp(min=torch.finfo().tiny)
        bands = torch.quantile(directions, torch.tensor([0.15, 0.85]), dim=0)
        cosine[count] = torch.stack([directions.mean(dim=0), *bands])
    return {
        name: {
            "bias": bias[i].item(),
            "bias_floor": floor[i].item(),
            "std": std[i].item(),
            "rmse": {count: values[i].item() for count, values in rmse.items()},
            "cosine": {count: values[:, i].tolist() for count, values in cosine.items()},
        }
        for i, name in enumerate([*blocks, "all"])
    }


def averages(samples: Tensor, total: int) -> list[tuple[int, Tensor]]:
    """(M, means of M samples each), for every M of GRID that `total` samples hold twice; one without noise stands for all means."""
    counts = [count for count in GRID if total // count >= 2]
    if len(samples) == 1:
        return [(count, samples) for count in counts]
    sums = torch.cat([torch.zeros_like(samples[:1], dtype=torch.float64), samples.cumsum(dim=0, dtype=torch.float64)])
    found = []
    for count in counts:
        ends = sums[: len(samples) // count * count + 1 : count]
        found.append((count, (ends.diff(dim=0) / count).float()))
    return found


def improvements(
    samples: Tensor,
    exact: Tensor,
    blocks: dict[str, slice],
    theta: Tensor,
    loss: Callable[[Tensor], Tensor],
    length: float,
    total: int,
) -> dict[str, dict[int, float]]:
    """{block: {M: expected fall of the loss}} of a step of `length` against a mean of M samples, as a share of what the exact
    gradient's step gains. Only the block's parameters move. `loss` maps (steps, parameters) to (steps,)."""
    start = loss(theta[None])[0]
    found: dict[str, dict[int, float]] = {}
    for name, block in {**blocks, "all": slice(None)}.items():

        def gain(directions: Tensor, block: slice = block) -> Tensor:
            moved = theta.repeat(len(directions), 1)
            kept = directions[:, block].double()
            moved[:, block] -= length * kept / kept.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
            return start - loss(moved)

        best = gain(exact[None])[0]
        means = {count: kept[:STEPS] for count, kept in averages(samples, total) if count in STEPS_AFTER}
        found[name] = {count: (gain(kept).mean() / best).item() for count, kept in means.items()}
    return found
