"""Means of gradients of single data, each with noise of its own: how far they are off, by how many are averaged."""

import torch
from torch import Tensor

from bnn_train.errors import ConfigError
from bnn_train.lab.estimators import Method
from bnn_train.lab.network import Network, draw

ERROR, COSINE = "relative error of a mean", "cosine of a mean with the exact gradient"
CHUNK = 100  # draws at once


def check(name: str, method: Method) -> None:
    if method.deltas is None:
        raise ConfigError(f"{name}.name", "exact", "has no samples that could be averaged")


def errors(
    net: Network, theta: Tensor, exact: Tensor, method: Method, sizes: list[int], samples: int
) -> dict[str, dict[int, float]]:
    """{quantity: {size: value}}: the root mean square error of means of that many, and their mean cosine with `exact`.

    The noise of all data is drawn `samples` times; batches are taken from these gradients in random order, each used once.
    """
    pool = gradients(net, theta.float(), method, samples)
    pool = pool[torch.randperm(len(pool))]
    truth = exact.float()
    error, cosine = {}, {}
    for size in sizes:
        means = pool[: len(pool) // size * size].view(-1, size, pool.shape[1]).mean(dim=1)
        error[size] = ((means - truth).square().sum(dim=1).mean().sqrt() / truth.norm().clamp(min=1e-30)).item()
        cosine[size] = torch.cosine_similarity(means, truth[None], dim=1).mean().item()
    return {ERROR: error, COSINE: cosine}


def gradients(net: Network, theta: Tensor, method: Method, samples: int) -> Tensor:
    """(samples * data, parameters): of every datum's loss, as often as drawn."""
    assert method.deltas is not None
    baseline = net.loss(draw(net, theta, CHUNK, method.forward, method.stochastic).last).mean()
    parts = []
    for first in range(0, samples, CHUNK):
        sample = draw(net, theta, min(CHUNK, samples - first), method.forward, method.stochastic)
        blocks = []
        for x, delta in zip(sample.x, method.deltas(net, theta, sample, baseline), strict=False):
            blocks += [(delta[..., None] * x[..., None, :]).flatten(2), delta]
        parts.append(torch.cat(blocks, dim=2).flatten(0, 1))
    return torch.cat(parts)
