"""What a network is made of: shapes, bits and multiply-accumulates of each layer, measured by one image through it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear


@dataclass(frozen=True)
class LayerRow:
    """One layer with parameters. Multiply-accumulates (MACs) are per image; those of BatchNorm are not counted."""

    name: str
    kind: str  # class name
    output_shape: tuple[int, ...]  # without the batch
    parameters: int  # numbers that are trained
    weight_bits: int  # of one weight once training is over
    input_bits: int  # 1 where every input is -1 or +1
    binary_macs: int  # both factors in {-1, +1}
    real_macs: int
    bytes: int  # in memory once training is over, BatchNorm with its statistics


@torch.no_grad()
def layer_rows(model: nn.Module, image: Tensor) -> list[LayerRow]:
    """A row for each layer of `model` that has parameters, in the order of the forward pass. image: (1, C, H, W), normalised."""
    rows: list[LayerRow] = []

    def hook(name: str) -> Any:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows.append(_row(name, layer, inputs[0], output))

        return record

    handles = [
        layer.register_forward_hook(hook(name))
        for name, layer in model.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    was_training = model.training
    model.eval()
    model(image)
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return rows


def _row(name: str, layer: nn.Module, x: Tensor, output: Tensor) -> LayerRow:
    parameters = sum(p.numel() for p in layer.parameters(recurse=False))
    shape = tuple(output.shape[1:])
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        values = parameters + sum(b.numel() for b in layer.buffers(recurse=False) if b.is_floating_point())
        return LayerRow(name, type(layer).__name__, shape, parameters, 32, 32, 0, 0, 4 * values)
    weight_bits = layer.binarizer.bits if isinstance(layer, BinaryLinear | BinaryConv2d) else 32
    if isinstance(layer, BinaryLinear | BinaryConv2d) and layer.estimator is not None:
        x = layer.estimator(x)
    input_bits = 1 if bool((x.abs() == 1).all()) else 32
    macs = layer.weight.numel() * (output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)
    binary = weight_bits == input_bits == 1
    weights = layer.weight.numel()
    return LayerRow(
        name,
        type(layer).__name__,
        shape,
        parameters,
        weight_bits,
        input_bits,
        binary_macs=macs if binary else 0,
        real_macs=0 if binary else macs,
        bytes=-(-weights * weight_bits // 8) + 4 * (parameters - weights),
    )
