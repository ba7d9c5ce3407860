"""Shortcomings of straight-through estimators, each varied alone in one network, against the exact gradient.

All but `batch` visit all states, so that what is shown is bias and nothing of it chance; lab/batches.py draws.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_shortcomings import ShortcomingConfig
from bnn_train.config.ste import SteConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import batches, estimators, expected, problems
from bnn_train.lab.network import Network, exact_gradient

Lines = dict[str, dict[str, float]]  # label: {x: value}
Point = tuple[Network, Tensor, Tensor, slice]  # the network, its parameters, the exact gradient, and which part of it is compared
BIAS, COSINE = "relative bias", "cosine of the mean with the exact gradient"
NORM = "norm of the gradient (the exact one's at first: 1)"
SMALLEST = 1e-30  # noise within bounds can leave a gradient of 0, whose relative bias is 0, or large and finite
SPREAD = 0.5  # saturation: standard deviation of a unit's pre-activations over the data


def run(config: LabConfig, folder: Path, tick: Callable[[float], None]) -> dict[str, Any]:
    """The network of config.seed, in seconds, so that nothing is kept in `folder` on the way."""
    return measured(_protocol(config), config.seed)


def gathered(networks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All networks' figures as they are: changes along a line are compared network by network."""
    return {"kind": "shortcoming", "found": list(networks)}


def measured(protocol: ShortcomingConfig, seed: int) -> dict[str, Any]:
    """One network: {"experiment": ..., "panels": {quantity: {line: {x: value}}}}, plain data, x as text.

    A line "tanh, ..." belongs to the estimator tanh.
    """
    return {"experiment": protocol.experiment, "panels": EXPERIMENTS[protocol.experiment](protocol, seed)}


def check(config: LabConfig) -> None:
    """Raises ConfigError for estimators that the experiment cannot measure, before any work."""
    protocol = _protocol(config)
    for label, chosen in protocol.estimators.items():
        name = f"protocol.estimators.{label}"
        method = estimators.build(chosen, 0.5, name)
        if protocol.experiment == "batch":
            batches.check(name, method)
        else:
            expected.check(name, chosen, linear=protocol.experiment != "clamp")
    if protocol.experiment == "clamp" and 2 ** sum(protocol.widths) > expected.MOST_PATHS:
        raise ConfigError("protocol.widths", protocol.widths, f"clamp visits all paths: at most {expected.MOST_PATHS}")
    if protocol.experiment == "forward" and any(chosen.name == "psa" for chosen in protocol.estimators.values()):
        raise ConfigError("protocol.estimators", "psa", "forward varies the noise that is drawn; psa has no other")


def _protocol(config: LabConfig) -> ShortcomingConfig:
    assert isinstance(config.protocol, ShortcomingConfig)
    return config.protocol


def network(protocol: ShortcomingConfig, seed: int, widths: list[int] | None = None) -> tuple[Network, Tensor]:
    """The moons' network of that seed, and its parameters after protocol.epochs steps of the exact gradient."""
    noise = scaled(FAMILY[protocol.noise], protocol.scale)
    net = problems.moons(widths or protocol.widths, noise, protocol.points, seed)
    theta = problems.start(net, seed)
    if not protocol.epochs:
        return net, theta  # torch takes seconds to load its first optimizer
    optimizer = torch.optim.Adam([theta], protocol.lr)
    for _ in range(protocol.epochs):
        theta.grad = exact_gradient(net, theta)
        optimizer.step()
    return net, theta.detach()


def depth(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """A factor that does not match is multiplied layer by layer: the first layer's gradient, in ever deeper networks."""

    def points() -> Iterator[tuple[float, Point, dict[str, SteConfig]]]:
        for x in protocol.over:
            net, theta = network(protocol, seed, protocol.widths[:1] * int(x))
            yield x, (net, theta, exact_gradient(net, theta), net.blocks()["layer 1"]), protocol.estimators

    return _bias_and_cosine(points())


def sharp(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """The same parameters with ever less noise: probabilities near 0 and 1, and steps between them that no line follows."""
    net, theta = network(protocol, seed)

    def points() -> Iterator[tuple[float, Point, dict[str, SteConfig]]]:
        for x in protocol.over:
            at = net._replace(noise=scaled(FAMILY[protocol.noise], x))
            own = {label: _of_scale(config, x) for label, config in protocol.estimators.items()}
            yield x, (at, theta, exact_gradient(at, theta), slice(None)), own

    return _bias_and_cosine(points())


def _of_scale(config: SteConfig, scale: float) -> SteConfig:
    return replace(config, scale=scale) if hasattr(config, "scale") else config  # type: ignore[call-arg]


def forward(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """A forward pass with a share of the noise that the factor follows from, against the gradients of two networks: that with all
    of the noise, and that with the share, which runs."""
    net, theta = network(protocol, seed)
    exact, panels = exact_gradient(net, theta), _panels(BIAS, COSINE)
    for x in protocol.over:
        runs = net._replace(noise=scaled(FAMILY[protocol.noise], protocol.scale * max(x, 1e-6)))  # so little moves no sign
        own = exact_gradient(runs, theta)
        for label, config in protocol.estimators.items():
            found = expected.expectation(runs, theta, expected.rule(label, config))
            _put(panels, label, x, found, exact)
            if x > 0:  # without noise its gradient is 0
                _put(panels, f"{label}, of the network that runs", x, found, own)
    return panels


def saturation(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """Units of the first layer moved to x on the side of their bias: norms of its gradient."""
    net, theta = network(protocol, seed)
    block, panels, unit = net.blocks()["layer 1"], _panels(NORM, COSINE), math.nan
    for x in protocol.over:
        moved = theta.clone()
        weight, bias = net.layers(moved)[0]
        side = torch.where(bias < 0, -1.0, 1.0).to(bias.dtype)
        weight.mul_(SPREAD / (net.inputs @ weight.T).std(dim=0, correction=0)[:, None])
        bias.copy_(side * x - (net.inputs @ weight.T).mean(dim=0))
        exact = exact_gradient(net, moved)[block]
        unit = (exact.norm().item() or 1.0) if math.isnan(unit) else unit
        panels[NORM].setdefault("exact", {})[_text(x)] = exact.norm().item() / unit
        for label, config in protocol.estimators.items():
            found = expected.expectation(net, moved, expected.rule(label, config))[block]
            panels[NORM].setdefault(label, {})[_text(x)] = found.norm().item() / unit
            panels[COSINE].setdefault(label, {})[_text(x)] = _cosine(found, exact)
    return panels


def clamp(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """A loss x times as large has a gradient x times as large, unless something has a size of its own, as a clamp has."""
    net, theta = network(protocol, seed)
    exact, panels = exact_gradient(net, theta), _panels(BIAS, COSINE)
    for x in protocol.over:
        times = net._replace(loss=_times(x, net.loss))
        for label, config in protocol.estimators.items():
            deltas = estimators.build(config, 0.5).deltas
            assert deltas is not None  # check
            _put(panels, label, x, expected.over_paths(times, theta, deltas)[0], x * exact)
    return panels


def _times(factor: float, loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda v: factor * loss(v)


def batch(protocol: ShortcomingConfig, seed: int) -> dict[str, Lines]:
    """Averaging takes away deviation and leaves bias."""
    net, theta = network(protocol, seed)
    exact = exact_gradient(net, theta)
    panels: dict[str, Lines] = {}
    torch.manual_seed(seed)
    for label, config in protocol.estimators.items():
        sizes = [int(x) for x in protocol.over]
        found = batches.errors(net, theta, exact, estimators.build(config, 0.5), sizes, protocol.samples)
        for quantity, line in found.items():
            panels.setdefault(quantity, {})[label] = {_text(x): line[int(x)] for x in protocol.over}
        if expected.is_found(config):
            bias = _relative(expected.expectation(net, theta, expected.rule(label, config)), exact)
            panels[batches.ERROR][f"{label}, bias alone"] = {_text(x): bias for x in protocol.over}
    return panels


EXPERIMENTS: dict[str, Callable[[ShortcomingConfig, int], dict[str, Lines]]] = {
    "depth": depth,
    "sharp": sharp,
    "forward": forward,
    "saturation": saturation,
    "clamp": clamp,
    "batch": batch,
}


def _bias_and_cosine(points: Iterator[tuple[float, Point, dict[str, SteConfig]]]) -> dict[str, Lines]:
    panels = _panels(BIAS, COSINE)
    for x, (net, theta, exact, part), configs in points:
        for label, config in configs.items():
            _put(panels, label, x, expected.expectation(net, theta, expected.rule(label, config))[part], exact[part])
    return panels


def _panels(*quantities: str) -> dict[str, Lines]:
    return {quantity: {} for quantity in quantities}


def _put(panels: dict[str, Lines], label: str, x: float, found: Tensor, exact: Tensor) -> None:
    panels[BIAS].setdefault(label, {})[_text(x)] = _relative(found, exact)
    panels[COSINE].setdefault(label, {})[_text(x)] = _cosine(found, exact)


def _relative(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm().clamp(min=SMALLEST)).item()


def _cosine(found: Tensor, exact: Tensor) -> float:
    return torch.cosine_similarity(found, exact, dim=0, eps=torch.finfo(found.dtype).tiny).item()


def _text(x: float) -> str:
    return f"{x:g}"
