"""One network's study of weights: every estimator of the gradient with respect to their means, at several sharpnesses.

A place is one problem at one sharpness; its figures are kept in a file as soon as it is done, and its random numbers follow from
the seed and its name, so that a study which was stopped goes on and ends the same, and other places and estimators change nothing.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnn_train.binary.noise import FAMILY, Noise, scaled
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_weights import WeightEstimator, WeightsProtocolConfig
from bnn_train.errors import ConfigError
from bnn_train.files import write_text
from bnn_train.lab import measures, weight_estimators, weight_network
from bnn_train.lab.means import gathered as gathered
from bnn_train.lab.weight_network import WeightNetwork

CHUNK = 1000  # samples at once
RARE = 5  # draws at least of the rarer value of a weight: with none an unbiased estimator looks biased


def check(config: LabConfig) -> None:
    """Raises ConfigError where some weight would hardly ever be drawn other than it mostly is, before anything is done."""
    protocol = _protocol(config)
    noise = _noise(protocol)
    for sharpness in protocol.sharpness:
        latent = torch.tensor(min(sharpness, weight_network.WITHIN * noise.support), dtype=torch.float64)
        if (seen := noise.cdf(-latent).item() * protocol.samples) < RARE:
            remedy = f"the rarer value of a weight is drawn {seen:.2g} times in {protocol.samples} samples; take more, for {RARE}"
            raise ConfigError("protocol.sharpness", sharpness, remedy)


def run(config: LabConfig, folder: Path, tick: Callable[[float], None]) -> dict[str, Any]:
    """Measures the network of config.seed; keeps places in `folder`, and tells `tick` each share of the work that is done.

    Returns {"measured": [{problem, sharpness, loss, gradient_norm, estimators: {label: {..., blocks}}}]}.
    """
    protocol = _protocol(config)
    folder.mkdir(parents=True, exist_ok=True)
    share = 1 / len(protocol.problems) / len(protocol.sharpness)
    measured = []
    for problem in protocol.problems:
        files = {sharpness: folder / f"{problem}-{sharpness}.json" for sharpness in protocol.sharpness}
        todo = [sharpness for sharpness, file in files.items() if not file.exists()]
        if todo:
            net = _network(config, problem)
            values = weight_network.state_losses(net)
        for sharpness, file in files.items():
            if sharpness in todo:
                write_text(json.dumps(_measure(config, net, values, problem, sharpness)), file)
            measured.append(json.loads(file.read_text(encoding="utf-8")))
            tick(share)
    return {"measured": measured}


def _protocol(config: LabConfig) -> WeightsProtocolConfig:
    assert isinstance(config.protocol, WeightsProtocolConfig)
    return config.protocol


def _noise(protocol: WeightsProtocolConfig) -> Noise:
    return scaled(FAMILY[protocol.noise], protocol.scale)


def _network(config: LabConfig, problem: str) -> WeightNetwork:
    protocol = _protocol(config)
    return weight_network.build(problem, protocol.widths, protocol.units, _noise(protocol), protocol.points, config.seed)


def _measure(config: LabConfig, net: WeightNetwork, values: Tensor, problem: str, sharpness: float) -> dict[str, Any]:
    """A place: what measures.py says of each estimator, and what it costs, by label. values: of weight_network.state_losses."""
    protocol = _protocol(config)
    eta = weight_network.start(net, sharpness, config.seed)
    m = weight_network.means_of(net.noise, eta)
    exact, blocks = weight_network.exact_gradient(values, m), net.blocks()
    seed = zlib.crc32(f"{config.seed} {problem} {sharpness}".encode())
    torch.manual_seed(seed)
    baseline = weight_network.losses(net, weight_estimators.drawn(net.noise.cdf(eta), _uniform(100, eta))).mean()
    results = {}
    for label, chosen in protocol.estimators.items():
        torch.manual_seed(seed + 1)  # the same draws for all: those that differ in their backward alone are held against each other
        samples = _samples(net, eta, chosen, protocol.samples, baseline)
        samples = exact[None].float() if samples is None else samples
        measured = measures.measure(samples, exact, blocks, protocol.samples)

        def loss(at: Tensor) -> Tensor:
            return weight_network.expected(values, weight_network.means_of(net.noise, at))

        gains = measures.improvements(samples, exact, blocks, eta, loss, protocol.step, protocol.samples)
        forward, backward = weight_estimators.METHODS[chosen.name].cost(net)
        results[label] = {
            "forward_passes": forward,
            "backward_passes": backward,
            "noise": protocol.noise,
            "noise_scale": protocol.scale,
            "samples": len(samples),
            "matching": _matching(protocol) if chosen.name != "exact" else None,
            "blocks": {name: {**measured[name], "improvement": gains[name]} for name in measured},
        }
    norms = {name: exact[block].norm().item() for name, block in {**blocks, "all": slice(None)}.items()}
    loss_now = weight_network.expected(values, m).item()
    return {"problem": problem, "sharpness": sharpness, "loss": loss_now, "gradient_norm": norms, "estimators": results}


def _matching(protocol: WeightsProtocolConfig) -> str | None:
    """The first label of the plain straight-through estimator."""
    return next((label for label, chosen in protocol.estimators.items() if chosen.name == "straight_through"), None)


def _samples(net: WeightNetwork, eta: Tensor, chosen: WeightEstimator, count: int, baseline: Tensor) -> Tensor | None:
    """(samples, weights) in float32, as measures.py has it; a single one where nothing is drawn, None for the exact gradient."""
    method = weight_estimators.build(chosen)
    if method.estimate is None:
        return None
    count = count if method.drawn or net.activation == "stochastic" else 1
    sizes = [min(CHUNK, count - first) for first in range(0, count, CHUNK)]
    return torch.cat([method.estimate(net, eta, _uniform(size, eta), baseline).float() for size in sizes])


def _uniform(count: int, eta: Tensor) -> Tensor:
    """In float64, as all passes: float32 has too few numbers near p for a cold relaxation, and saves a sixth of the time."""
    return torch.rand(count, len(eta), dtype=eta.dtype)
