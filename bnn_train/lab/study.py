"""A whole study: train, measure every estimator part by part, and gather the parts in lab.json.

A part is one problem at one epoch with the estimators that share samples; it is kept in a file of its own as soon as it is done,
and its random numbers follow from the seed and its name, so that a study which was stopped goes on and ends the same.
"""

import json
import logging
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.checks import flat
from bnn_train.config.lab import LabConfig
from bnn_train.errors import ConfigError
from bnn_train.files import write_text
from bnn_train.lab import estimators, measures, problems
from bnn_train.lab.estimators import Method
from bnn_train.lab.network import Network, draw, exact_gradient, exact_loss, parameter_gradients
from bnn_train.runs import checkpoint, environment

log = logging.getLogger(__name__)

CHUNK = 100  # samples at once: their values stay in the cache
Report = dict[str, Any]  # the content of lab.json


class Part(NamedTuple):
    """Estimators that are measured on the same samples of the same network."""

    name: str  # of its file
    problem: str
    epoch: int
    noise: tuple[str, float]  # of the network: family, scale
    methods: dict[str, Method]  # by label


def run(config: LabConfig, folder: Path) -> Report:
    """Measures as `config` says, keeps parts and lab.json in `folder`, and returns what lab.json holds.

    Raises ConfigError where the folder holds a study with another configuration, before anything is done.
    """
    parts = list(_parts(config))
    estimators.build(config.protocol.train_with, 0, "protocol.train_with")  # bad options end here
    _check_same(config, folder)
    start = time.perf_counter()
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(asdict(config), indent=2), folder / "config.json")
    thetas = {problem: _train(config, problem, folder) for problem in config.protocol.problems}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    total = sum(config.protocol.samples for part in parts if _is_drawn(part))
    with tqdm(total=total, desc="measuring", unit="sample", unit_scale=True, disable=None, leave=False) as bar:
        for part in parts:
            file = folder / "parts" / f"{part.name}.json"
            if not file.exists():
                result = _measure(config, part, thetas[part.problem][part.epoch], bar)
                write_text(json.dumps(result), file)
            elif _is_drawn(part):
                bar.update(config.protocol.samples)
            found.setdefault((part.problem, part.epoch), {}).update(json.loads(file.read_text(encoding="utf-8")))
    times = folder / "seconds.json"  # of all processes that worked on this study
    seconds = time.perf_counter() - start + (json.loads(times.read_text()) if times.exists() else 0)
    write_text(json.dumps(seconds), times)
    report = {
        "config": asdict(config),
        "seconds": seconds,
        "versions": environment.versions(),
        "git_commit": environment.git_commit(Path(__file__).parent.parent.parent),
        "measured": [
            {
                "problem": problem,
                "epoch": epoch,
                **_truth(config, problem, thetas[problem][epoch]),
                "estimators": {label: results[label] for label in config.protocol.estimators},
            }
            for (problem, epoch), results in found.items()
        ],
    }
    write_text(json.dumps(report, indent=1) + "\n", folder / "lab.json")
    return report


def _check_same(config: LabConfig, folder: Path) -> None:
    if not (folder / "config.json").exists():
        return
    stored, new = flat(json.loads((folder / "config.json").read_text(encoding="utf-8"))), flat(asdict(config))
    for key in [*new, *stored]:
        if stored.get(key) != new.get(key) and not key.startswith(("protocol.plotted", "plugins")):
            remedy = f"{folder} holds a study with {stored.get(key)}; delete it, or set hydra.run.dir to another"
            raise ConfigError(key, new.get(key), remedy)


def _network(config: LabConfig, problem: str, noise: tuple[str, float]) -> Network:
    protocol = config.protocol
    return problems.build(problem, protocol.widths, scaled(FAMILY[noise[0]], noise[1]), protocol.points, config.seed)


def _progress(config: LabConfig, epoch: int) -> float:
    """Of training, for annealed estimators; half-way where nothing is trained."""
    last = max(config.protocol.epochs)
    return epoch / last if last else 0.5


def _parts(config: LabConfig) -> Iterator[Part]:
    protocol = config.protocol
    for problem in protocol.problems:
        for epoch in protocol.epochs:
            groups: dict[Any, dict[str, Method]] = {}
            for label, chosen in protocol.estimators.items():
                method = estimators.build(chosen, _progress(config, epoch), f"protocol.estimators.{label}")
                noise = method.noise if protocol.own_noise and method.noise else (protocol.noise, protocol.scale)
                groups.setdefault((noise, method.stochastic, method.forward), {})[label] = method
            for i, ((noise, *_), methods) in enumerate(groups.items(), start=1):
                yield Part(f"{problem}-{epoch}-{i}", problem, epoch, noise, methods)


def _is_drawn(part: Part) -> bool:
    return any(method.stochastic for method in part.methods.values())


def _train(config: LabConfig, problem: str, folder: Path) -> dict[int, Tensor]:
    """The parameters at every epoch to measure, in float64; kept in the folder."""
    protocol, file = config.protocol, folder / "parts" / f"{problem}.pt"
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
    protocol, kept = config.protocol, {}
    torch.manual_seed(config.seed)
    theta = theta.clone()
    optimizer = torch.optim.Adam([theta], protocol.lr)
    baseline = torch.zeros(())
    epochs = range(1, max(protocol.epochs) + 1)
    for epoch in tqdm(epochs, "training", unit="epoch", disable=None, leave=False):
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


def _measure(config: LabConfig, part: Part, theta: Tensor, bar: tqdm) -> dict[str, Any]:
    """What measures.py says of each estimator of a part, and what it costs, by label."""
    net = _network(config, part.problem, part.noise)
    exact, blocks = exact_gradient(net, theta), net.blocks()
    gradients: dict[str, Tensor] = {}
    torch.manual_seed(zlib.crc32(f"{config.seed} {part.name}".encode()))
    drawn = {label: (method, method.deltas) for label, method in part.methods.items() if method.deltas is not None}
    if drawn:
        method, rough = next(iter(drawn.values()))[0], theta.float()
        count = config.protocol.samples if method.stochastic else 1
        gradients = {label: torch.empty(count, len(theta)) for label in drawn}
        baseline = net.loss(draw(net, rough, CHUNK, method.forward).last).mean()
        for first in range(0, count, CHUNK):
            sample = draw(net, rough, min(CHUNK, count - first), method.forward, method.stochastic)
            for label, (_, deltas) in drawn.items():
                found = parameter_gradients(net, sample, deltas(net, rough, sample, baseline))
                gradients[label][first : first + len(found)] = found
            if method.stochastic:
                bar.update(len(sample.last))
    loss = torch.vmap(lambda at: exact_loss(net, at))
    results = {}
    for label, method in part.methods.items():
        samples = gradients.get(label, exact[None].float())
        forward, backward = method.cost(net)
        measured = measures.measure(samples, exact, blocks, config.protocol.samples)
        gains = measures.improvements(samples, exact, blocks, theta, loss, config.protocol.step, config.protocol.samples)
        results[label] = {
            "forward_passes": forward,
            "backward_passes": backward,
            "noise": part.noise[0],
            "noise_scale": part.noise[1],
            "samples": len(samples),
            "blocks": {name: {**measured[name], "improvement": gains[name]} for name in measured},
        }
    return results


def _truth(config: LabConfig, problem: str, theta: Tensor) -> dict[str, Any]:
    net = _network(config, problem, (config.protocol.noise, config.protocol.scale))
    gradient = exact_gradient(net, theta)
    norms = {name: gradient[block].norm().item() for name, block in net.blocks().items()}
    return {"loss": exact_loss(net, theta).item(), "gradient_norm": {**norms, "all": gradient.norm().item()}}
