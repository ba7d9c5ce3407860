"""One network's study of activations: train it, and measure every estimator part by part.

A part is one problem at one epoch with the estimators that share samples; it is kept in a file of its own as soon as it is done,
and its random numbers follow from the seed and its name, so that a study which was stopped goes on and ends the same.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.lab import LabConfig
from bnn_train.config.protocol import SignsConfig
from bnn_train.config.ste import SteConfig
from bnn_train.files import write_text
from bnn_train.lab import estimators, measures, problems
from bnn_train.lab.estimators import Method
from bnn_train.lab.means import gathered as gathered
from bnn_train.lab.network import Network, draw, exact_gradient, exact_loss, parameter_gradients
from bnn_train.runs import checkpoint

DERIVED = ("tanh", *FAMILY)  # estimators of binary/ste.py whose factor is 2 F'(a), of the noise that each names
CHUNK = 100  # samples at once: their values stay in the cache


class Part(NamedTuple):
    """Estimators that are measured on the same samples of the same network."""

    name: str  # of its file
    problem: str
    epoch: int
    noise: tuple[str, float]  # of the network: family, scale
    methods: dict[str, Method]  # by label
    matching: str | None  # the label of the straight-through estimator that follows from the network's noise


def check(config: LabConfig) -> None:
    """Raises ConfigError for options of estimators that do not go together, before anything is done."""
    list(parts_of(config))
    estimators.build(_protocol(config).train_with, 0, "protocol.train_with")


def run(config: LabConfig, folder: Path, tick: Callable[[float], None]) -> dict[str, Any]:
    """Measures the network of config.seed; keeps parts in `folder`, and tells `tick` each share of the work that is done.

    Returns {"measured": [{problem, epoch, loss, gradient_norm, estimators: {label: {..., blocks}}}]}.
    """
    protocol, parts = _protocol(config), list(parts_of(config))
    folder.mkdir(parents=True, exist_ok=True)
    thetas = {problem: _train(config, problem, folder) for problem in protocol.problems}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    share = 1 / sum(_is_drawn(part) for part in parts) if any(map(_is_drawn, parts)) else 1.0
    for part in parts:
        file = folder / f"{part.name}.json"
        if not file.exists():
            result = _measure(config, part, thetas[part.problem][part.epoch], lambda done: tick(done * share))
            write_text(json.dumps(result), file)
        elif _is_drawn(part):
            tick(share)
        found.setdefault((part.problem, part.epoch), {}).update(json.loads(file.read_text(encoding="utf-8")))
    return {
        "measured": [
            {
                "problem": problem,
                "epoch": epoch,
                **_truth(config, problem, thetas[problem][epoch]),
                "estimators": {label: results[label] for label in protocol.estimators},
            }
            for (problem, epoch), results in found.items()
        ]
    }


def _protocol(config: LabConfig) -> SignsConfig:
    assert isinstance(config.protocol, SignsConfig)
    return config.protocol


def _network(config: LabConfig, problem: str, noise: tuple[str, float]) -> Network:
    protocol = _protocol(config)
    return problems.build(problem, protocol.widths, scaled(FAMILY[noise[0]], noise[1]), protocol.points, config.seed)


def _progress(config: LabConfig, epoch: int) -> float:
    """Of training, for annealed estimators; half-way where nothing is trained."""
    last = max(_protocol(config).epochs)
    return epoch / last if last else 0.5


def parts_of(config: LabConfig) -> Iterator[Part]:
    protocol = _protocol(config)
    for problem in protocol.problems:
        for epoch in protocol.epochs:
            groups: dict[Any, dict[str, Method]] = {}
            for label, chosen in protocol.estimators.items():
                method = estimators.build(chosen, _progress(config, epoch), f"protocol.estimators.{label}")
                noise = method.noise if protocol.own_noise and method.noise else (protocol.noise, protocol.scale)
                groups.setdefault((noise, method.stochastic, method.forward), {})[label] = method
            for i, ((noise, *_), methods) in enumerate(groups.items(), start=1):
                yield Part(f"{problem}-{epoch}-{i}", problem, epoch, noise, methods, matching(protocol.estimators, noise))


def matching(chosen: Mapping[str, SteConfig], noise: tuple[str, float]) -> str | None:
    """The first label of the estimator which a network's noise gives, 2 F'(a), drawn with that noise."""
    for label, config in chosen.items():
        own = estimators.build(config, 0, f"protocol.estimators.{label}").noise
        if config.name in DERIVED and config.stochastic and own == noise:
            return label
    return None


def _is_drawn(part: Part) -> bool:
    return any(method.stochastic for method in part.methods.values())


def _train(config: LabConfig, problem: str, folder: Path) -> dict[int, Tensor]:
    """The parameters at every epoch to measure, in float64; kept in the folder."""
    protocol, file = _protocol(config), folder / f"{problem}.pt"
    if file.exists():
        return checkpoint.load(file)["thetas"]
    net = _network(config, problem, (protocol.noise, protocol.scale))
    theta = problems.start(net, config.seed)
    kept = {0: theta}
    if problem == "moons":
        kept |= _train_moons(config, net, theta)
    else:
        kept |= dict.fromkeys(protocol.epochs, theta)  # known losses are measured as drawn
    checkpoint.save({"thetas": kept}, file)
    return kept


def _train_moons(config: LabConfig, net: Network, theta: Tensor) -> dict[int, Tensor]:
    protocol, kept = _protocol(config), {}
    torch.manual_seed(config.seed)
    theta = theta.clone()
    optimizer = torch.optim.Adam([theta], protocol.lr)
    baseline = torch.zeros(())
    epochs = range(1, max(protocol.epochs) + 1)
    for epoch in epochs:
        method = estimators.build(protocol.train_with, epoch / len(epochs), "protocol.train_with")
        if method.deltas is None:
            theta.grad = exact_gradient(net, theta)
        else:
            sample = draw(net, theta, 1, method.forward, method.stochastic)
            theta.grad = parameter_gradients(net, sample, method.deltas(net, theta, sample, baseline))[0]
            baseline = net.loss(sample.last).mean()
        optimizer.step()
        if epoch in protocol.epochs:
            kept[epoch] = theta.clone()
    return kept


def _measure(config: LabConfig, part: Part, theta: Tensor, tick: Callable[[float], None]) -> dict[str, Any]:
    """What measures.py says of each estimator of a part, and what it costs, by label."""
    protocol, net = _protocol(config), _network(config, part.problem, part.noise)
    exact, blocks = exact_gradient(net, theta), net.blocks()
    gradients: dict[str, Tensor] = {}
    torch.manual_seed(zlib.crc32(f"{config.seed} {part.name}".encode()))
    drawn = {label: (method, method.deltas) for label, method in part.methods.items() if method.deltas is not None}
    if drawn:
        method, rough = next(iter(drawn.values()))[0], theta.float()
        count = protocol.samples if method.stochastic else 1
        gradients = {label: torch.empty(count, len(theta)) for label in drawn}
        baseline = net.loss(draw(net, rough, CHUNK, method.forward).last).mean()
        for first in range(0, count, CHUNK):
            sample = draw(net, rough, min(CHUNK, count - first), method.forward, method.stochastic)
            for label, (_, deltas) in drawn.items():
                found = parameter_gradients(net, sample, deltas(net, rough, sample, baseline))
                gradients[label][first : first + len(found)] = found
            if method.stochastic:
                tick(len(sample.last) / count)
    loss = torch.vmap(lambda at: exact_loss(net, at))
    results = {}
    for label, method in part.methods.items():
        samples = gradients.get(label, exact[None].float())
        forward, backward = method.cost(net)
        measured = measures.measure(samples, exact, blocks, protocol.samples)
        gains = measures.improvements(samples, exact, blocks, theta, loss, protocol.step, protocol.samples)
        results[label] = {
            "forward_passes": forward,
            "backward_passes": backward,
            "noise": part.noise[0],
            "noise_scale": part.noise[1],
            "samples": len(samples),
            "matching": part.matching if method.deltas is not None else None,
            "blocks": {name: {**measured[name], "improvement": gains[name]} for name in measured},
        }
    return results


def _truth(config: LabConfig, problem: str, theta: Tensor) -> dict[str, Any]:
    protocol = _protocol(config)
    net = _network(config, problem, (protocol.noise, protocol.scale))
    gradient = exact_gradient(net, theta)
    norms = {name: gradient[block].norm().item() for name, block in net.blocks().items()}
    return {"loss": exact_loss(net, theta).item(), "gradient_norm": {**norms, "all": gradient.norm().item()}}
