"""What a network is made of: shapes, bits and multiply-accumulates of each layer, measured by one image through it."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryLayer


@dataclass(frozen=True)
class LayerRow:
    """One layer with parameters. Multiply-accumulates (MACs) are per image; those of BatchNorm are not counted."""

    name: str  # dotted, as in named_modules
    kind: str  # class name
    output_shape: tuple[int, ...]  # without the batch; () where the forward pass does not call the module
    parameters: int  # numbers that are trained
    binary_weights: int  # of these, weights that take one bit once training is over
    weight_bits: int  # of one weight once training is over
    input_bits: int  # 1 where every input is -1 or +1
    binary_macs: int  # both factors in {-1, +1}
    real_macs: int
    bytes: int  # in memory once training is over, BatchNorm with its statistics


@torch.no_grad()
def layer_rows(model: nn.Module, image: Tensor) -> list[LayerRow]:
    """A row for each module of `model` with parameters of its own, in the order of the forward pass.

    A module that is called twice has one row, with the MACs of both calls; one that is not called (its parameters may be used
    elsewhere) has a row without MACs at the end. A tensor that two modules share counts in the first. image: (1, C, H, W),
    normalised.
    """
    names = {module: name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))}
    rows: dict[nn.Module, LayerRow] = {}
    counted: set[int] = set()

    def record(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        row = _row(names[layer], layer, counted, inputs[0] if inputs else None, output)
        if layer in rows:
            first = rows[layer]
            row = replace(first, binary_macs=first.binary_macs + row.binary_macs, real_macs=first.real_macs + row.real_macs)
        rows[layer] = row

    handles = [layer.register_forward_hook(record) for layer in names]
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        model(image)
    finally:
        for module, training in was_training.items():
            module.training = training
        for handle in handles:
            handle.remove()
    for layer, name in names.items():
        if layer not in rows:
            rows[layer] = _row(name, layer, counted, None, None)
    return list(rows.values())


def _row(name: str, layer: nn.Module, counted: set[int], x: Any, output: Any) -> LayerRow:
    own = [p for p in layer.parameters(recurse=False) if id(p) not in counted]
    counted.update(id(p) for p in own)
    parameters = sum(p.numel() for p in own)
    shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
    buffers = sum(b.numel() for n, b in layer.named_buffers(recurse=False) if b.is_floating_point() and n != "connected")
    real = LayerRow(name, type(layer).__name__, shape, parameters, 0, 32, 32, 0, 0, 4 * (parameters + buffers))
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return real
    macs = 0
    if isinstance(output, Tensor):
        places = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else output[0].numel() // layer.out_features
        macs = layer.weight.numel() * places
    if not isinstance(layer, BinaryLayer):
        return replace(real, input_bits=_bits(x), real_macs=macs)
    input_bits = 32 if x is None else _bits(x if layer.estimator is None else layer.estimator(x))
    weights = sum(p.numel() for p in own if p is layer.weight) if layer.binarizer.bits == 1 else 0
    binary = layer.binarizer.bits == input_bits == 1
    factors = 0 if layer.scaling_factor is not None or layer.output_scale() is None else len(layer.weight)  # made of the weights
    return replace(
        real,
        binary_weights=weights,
        weight_bits=layer.binarizer.bits,
        input_bits=input_bits,
        binary_macs=macs if binary else 0,
        real_macs=0 if binary else macs,
        bytes=-(-weights // 8) + 4 * (parameters - weights + factors),
    )


def _bits(x: Any) -> int:
    return 1 if isinstance(x, Tensor) and bool((x.abs() == 1).all()) else 32
