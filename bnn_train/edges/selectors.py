"""Which edges of a layer: functions from its weight to a boolean mask of the weight's shape.

A weight is (outputs, inputs), or (output channels, input channels, height, width) of a convolution; an edge is an element of it.
A new selector: write its function here, with its options as keyword-only arguments, and add its line to SELECTORS.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bnn_train.errors import ConfigError, as_typed

KEY = "edges.rules"  # of every refusal


def all_edges(weight: Tensor, name: str) -> Tensor:
    """All of them."""
    return torch.ones_like(weight, dtype=torch.bool)


def random(weight: Tensor, name: str, *, density: float, seed: int = 0) -> Tensor:
    """The share `density` of them, drawn by (seed, layer name); the number is exact."""
    order = torch.randperm(weight.numel(), generator=_generator(seed, name))
    return _first(order, round(density * weight.numel()), weight)


def magnitude(weight: Tensor, name: str, *, density: float, largest: bool = True) -> Tensor:
    """The share `density` with the largest (or smallest) absolute value; of equals, those that come first."""
    order = weight.detach().abs().flatten().sort(descending=largest, stable=True).indices
    return _first(order, round(density * weight.numel()), weight)


def rows(weight: Tensor, name: str, *, index: list[int]) -> Tensor:
    """All edges into these outputs: neurons, or output channels."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[_valid(index, weight.shape[0], name, "rows")] = True
    return mask


def columns(weight: Tensor, name: str, *, index: list[int]) -> Tensor:
    """All edges out of these inputs, or input channels."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask[:, _valid(index, weight.shape[1], name, "columns")] = True
    return mask


def n_m(weight: Tensor, name: str, *, n: int, m: int) -> Tensor:
    """The n of every m consecutive inputs of an output that have the largest absolute values; of equals, the first."""
    size = weight[0].numel()
    if n > m:
        raise ConfigError(f"{KEY}.n", n, f"must be at most m={m}")
    if size % m:
        raise ConfigError(f"{KEY}.m", m, f"must divide the {size} inputs of an output of {name}")
    order = weight.detach().abs().view(-1, m).sort(dim=1, descending=True, stable=True).indices
    mask = torch.zeros(weight.numel() // m, m, dtype=torch.bool, device=weight.device)
    return mask.scatter_(1, order[:, :n], True).view_as(weight)


def block(weight: Tensor, name: str, *, size: list[int], density: float, seed: int = 0) -> Tensor:
    """The share `density` of the blocks of size [outputs, inputs], drawn by (seed, layer name); blocks at the ends may be cut."""
    height, width = size
    matrix = weight.flatten(1)
    grid = torch.empty(math.ceil(matrix.shape[0] / height), math.ceil(matrix.shape[1] / width))
    chosen = random(grid, name, density=density, seed=seed)
    full = chosen.repeat_interleave(height, dim=0).repeat_interleave(width, dim=1)
    return full[: matrix.shape[0], : matrix.shape[1]].reshape(weight.shape).to(weight.device)


def from_file(weight: Tensor, name: str, *, file: str) -> Tensor:
    """A mask from a .pt or .npy file: a tensor of the weight's shape, boolean or of 0 and 1, a sparse COO tensor of such values, or
    (.pt) a dict of layer names to tensors. Code in a file is never run."""
    mask = read_masks(file)
    if isinstance(mask, dict):
        if name not in mask:
            raise ConfigError(f"{KEY}.file", file, f"holds no mask for {name}; it holds {', '.join(map(str, mask)) or 'none'}")
        mask = mask[name]
    if not isinstance(mask, Tensor):
        raise ConfigError(f"{KEY}.file", file, f"holds a {type(mask).__name__} where a tensor should be")
    if mask.shape != weight.shape:
        shapes = "x".join(map(str, mask.shape)), "x".join(map(str, weight.shape))
        raise ConfigError(f"{KEY}.file", file, f"holds a mask of shape {shapes[0]}, but {name} has {shapes[1]}")
    dense = mask.to_dense() if mask.layout != torch.strided else mask
    if dense.is_complex() or not ((dense == 0) | (dense == 1)).all():
        raise ConfigError(f"{KEY}.file", file, f"must hold booleans, or 0 and 1 alone ({as_typed(str(mask.dtype))} here)")
    return dense.to(device=weight.device, dtype=torch.bool)


def read_masks(file: str) -> Any:
    """What the file holds. Raises ConfigError where it is missing, damaged, of another kind, or would run code."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"{KEY}.file", file, "there is no such file")
    if path.suffix not in (".pt", ".npy"):
        raise ConfigError(f"{KEY}.file", file, "must be a .pt or .npy file")
    try:
        if path.suffix == ".pt":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the indices of sparse tensors are checked, as they should be
                return torch.load(path, map_location="cpu", weights_only=True)
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except Exception as error:  # torch and numpy raise many types for a bad file
        raise ConfigError(f"{KEY}.file", file, "cannot be read as a mask: it is cut short, damaged or foreign") from error


SELECTORS: dict[str, Callable[..., Tensor]] = {
    "all": all_edges,
    "random": random,
    "magnitude": magnitude,
    "rows": rows,
    "columns": columns,
    "n_m": n_m,
    "block": block,
    "file": from_file,
}


def _generator(seed: int, name: str) -> torch.Generator:
    """Every layer draws differently, and the same in every run and on every device."""
    return torch.Generator().manual_seed(seed * 1_000_003 + sum(ord(letter) * 31**i for i, letter in enumerate(name)) % 1_000_003)


def _first(order: Tensor, count: int, weight: Tensor) -> Tensor:
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[:count].to(weight.device)] = True
    return mask.view_as(weight)


def _valid(index: list[int], size: int, name: str, what: str) -> list[int]:
    for i in index:
        if not 0 <= i < size:
            raise ConfigError(f"{KEY}.index", index, f"{name} has {what} 0 to {size - 1}")
    return index
