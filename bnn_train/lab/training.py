"""Whether the cosine that the laboratory measures says which estimator trains well: one network, trained by each to the end."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.binary.ste import sign
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_training import LabTrainingConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import estimators, means, problems, signs
from bnn_train.lab.estimators import Method
from bnn_train.lab.network import Network, draw, exact_gradient, exact_loss, parameter_gradients

AVERAGED = (1, 100)  # samples in a mean whose cosine is measured
PLACES = ("start", "middle", "end")  # of the exact gradient's path
OUTCOMES = ("training loss", "held-out loss", "held-out accuracy")  # all of the network with its noise, in expectation
CHUNK = 100


class Data(NamedTuple):
    """One network over two sets of points, and the class, -1 or +1, of each."""

    training: Network
    held: Network
    sides: Tensor  # of the held-out points


def check(config: LabConfig) -> None:
    """Raises ConfigError for estimators that do not exist, before any work."""
    for label, chosen in _protocol(config).estimators.items():
        if estimators.build(chosen, 0, f"protocol.estimators.{label}").deltas is None:
            raise ConfigError(f"protocol.estimators.{label}.name", "exact", "trains always; leave it out")


def _protocol(config: LabConfig) -> LabTrainingConfig:
    assert isinstance(config.protocol, LabTrainingConfig)
    return config.protocol


def run(config: LabConfig, folder: Path, tick: Callable[[float], None]) -> dict[str, Any]:
    """The network of config.seed; tells `tick` each estimator's share. A network that was stopped begins anew."""
    return measured(_protocol(config), config.seed, tick)


def gathered(networks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All networks' figures as they are, since correlations are those of each; and whether an estimator came to another held-out
    accuracy than the straight-through estimator which the noise gives, where that one trains: lab/means.py's verdicts, by label."""
    trained, name = [network["estimators"] for network in networks], networks[0]["matching"]
    against = {}
    if name is not None:
        differences = {label: [_gain(each, label, name) for each in trained] for label in trained[0] if label != name}
        against = {"matching": name, "verdicts": means.verdicts(differences)}
    return {"kind": "training", "found": list(networks), "against": against}


def _gain(trained: dict[str, Any], label: str, other: str) -> float:
    gain: float = trained[label]["held-out accuracy"] - trained[other]["held-out accuracy"]
    return gain


def measured(protocol: LabTrainingConfig, seed: int, tick: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
    """One network, plain data:

    {"estimators": {label: {"lr", *OUTCOMES, "accuracy without noise", "cosine": {averaged samples: {place: mean cosine}}}},
    "exact": the same without cosine, "matching": the label of the straight-through estimator that the noise gives, or None,
    "spearman": {outcome: {averaged samples: {place or "mean": rank correlation}}}}.

    The correlation is over estimators, of their cosine with how well the network did: positive where a better direction gave a
    lower loss or a higher accuracy.
    """
    data = problem(protocol, seed)
    theta = problems.start(data.training, seed)
    best, path = _best(protocol, data, theta, None, seed)
    trained = {}
    places = [path[0], path[len(path) // 2], path[-1]]
    for label, config in protocol.estimators.items():
        method = estimators.build(config, 0.5)
        found, _ = _best(protocol, data, theta, method, seed)
        torch.manual_seed(seed)
        cosines = [_cosines(data.training, at, method, protocol.samples) for at in places]
        found["cosine"] = {str(count): {p: c[count] for p, c in zip(PLACES, cosines, strict=True)} for count in AVERAGED}
        trained[label] = found
        tick(1 / len(protocol.estimators))
    return {
        "estimators": trained,
        "exact": best,
        "matching": signs.matching(protocol.estimators, (protocol.noise, protocol.scale)),
        "spearman": _correlations(list(trained.values())),
    }


def problem(protocol: LabTrainingConfig, seed: int) -> Data:
    """Two moons, standardised by the points that are trained with."""
    count = protocol.points + protocol.held_out
    x, y = problems.half_moons(count, noise=0.2, seed=seed % 2**32)
    inputs, sides = torch.from_numpy(x), torch.from_numpy(2.0 * y - 1)
    first = inputs[: protocol.points]
    inputs = (inputs - first.mean(dim=0)) / first.std(dim=0)
    noise = scaled(FAMILY[protocol.noise], protocol.scale)

    def network(part: slice) -> Network:
        def loss(v: Tensor) -> Tensor:
            return F.softplus(-sides[part].to(v.dtype) * v.squeeze(-1))

        return Network(inputs[part], tuple(protocol.widths), True, loss, noise)

    training, held = slice(protocol.points), slice(protocol.points, count)
    return Data(network(training), network(held), sides[held])


def train(net: Network, theta: Tensor, method: Method | None, lr: float, steps: int, seed: int) -> Iterator[Tensor]:
    """The parameters before the first step and after each, by Adam, with one sample of all data at each, or the exact gradient."""
    torch.manual_seed(seed)
    theta = theta.clone()
    optimizer = torch.optim.Adam([theta], lr)
    baseline = torch.zeros((), dtype=theta.dtype)
    yield theta.clone()
    for _ in range(steps):
        if method is None:
            theta.grad = exact_gradient(net, theta)
        else:
            assert method.deltas is not None  # check
            sample = draw(net, theta, 1, method.forward, method.stochastic)
            theta.grad = parameter_gradients(net, sample, method.deltas(net, theta, sample, baseline))[0]
            baseline = net.loss(sample.last).mean()
        optimizer.step()
        yield theta.detach().clone()


def _best(
    protocol: LabTrainingConfig, data: Data, theta: Tensor, method: Method | None, seed: int
) -> tuple[dict[str, Any], list[Tensor]]:
    """What the learning rate with the least expected training loss gave, and its path."""
    best: tuple[dict[str, Any], list[Tensor]] | None = None
    for lr in protocol.lrs:
        path = list(train(data.training, theta, method, lr, protocol.steps, seed))
        found = {"lr": lr, **_outcomes(data, path[-1])}
        if best is None or found["training loss"] < best[0]["training loss"]:
            best = found, path
    assert best is not None  # lrs is not empty
    return best


def _outcomes(data: Data, theta: Tensor) -> dict[str, float]:
    def right(v: Tensor) -> Tensor:
        return (data.sides * v.squeeze(-1) > 0).to(v.dtype)

    without = right(draw(data.held, theta, 1, sign, noise=False).last)
    return {
        "training loss": exact_loss(data.training, theta).item(),
        "held-out loss": exact_loss(data.held, theta).item(),
        "held-out accuracy": exact_loss(data.held._replace(loss=right), theta).item(),
        "accuracy without noise": without.mean().item(),
    }


def _cosines(net: Network, theta: Tensor, method: Method, samples: int) -> dict[int, float]:
    """{averaged samples: mean cosine with the exact gradient}; an estimator without noise has one sample."""
    assert method.deltas is not None  # check
    exact, rough = exact_gradient(net, theta).float(), theta.float()
    baseline = net.loss(draw(net, rough, CHUNK, method.forward).last).mean()
    parts = []
    for first in range(0, samples if method.stochastic else 1, CHUNK):
        count = min(CHUNK, samples - first) if method.stochastic else 1
        sample = draw(net, rough, count, method.forward, method.stochastic)
        parts.append(parameter_gradients(net, sample, method.deltas(net, rough, sample, baseline)))
    drawn, found = torch.cat(parts), {}
    for averaged in AVERAGED:
        size = averaged if method.stochastic else 1
        means = drawn[: len(drawn) // size * size].view(-1, size, drawn.shape[1]).mean(dim=1)
        found[averaged] = torch.cosine_similarity(means, exact[None], dim=1).mean().item()
    return found


def _correlations(trained: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for outcome in OUTCOMES:
        better = 1 if outcome.endswith("accuracy") else -1
        values = [better * each[outcome] for each in trained]
        for count in map(str, AVERAGED):
            cosines = {place: [each["cosine"][count][place] for each in trained] for place in PLACES}
            cosines["mean"] = [sum(each["cosine"][count].values()) / len(PLACES) for each in trained]
            rhos = {place: spearman(of, values) for place, of in cosines.items()}
            found.setdefault(outcome, {})[count] = rhos
    return found


def spearman(first: list[float], second: list[float]) -> float:
    """The correlation of their ranks, equal values sharing the mean of theirs; 0 where all of one are equal."""
    a, b = (_ranks(torch.tensor(values, dtype=torch.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    sizes = (a.norm() * b.norm()).item()
    return (a @ b).item() / sizes if sizes else 0.0


def _ranks(values: Tensor) -> Tensor:
    below = (values[:, None] > values).sum(dim=1)
    return below + ((values[:, None] == values).sum(dim=1) - 1) / 2
