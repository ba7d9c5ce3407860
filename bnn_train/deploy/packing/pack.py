"""A torch network, packed: traced, rewritten, without what is the same for every image, and as operations in their order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bnn_train.data.augment import normalise
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Unfit
from bnn_train.deploy.packing.dead import without_constants
from bnn_train.deploy.packing.graph import Node, in_order
from bnn_train.deploy.packing.rewrite import rewritten
from bnn_train.deploy.packing.trace import trace
from bnn_train.errors import ConfigError


def pack(
    model: nn.Module, image_shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float], about: dict[str, Any]
) -> Packed:
    """The network for uint8 images of `image_shape`, (channels, height, width), normalised as (x / 255 - mean) / std.

    model: on the CPU; it is left in evaluation mode. Raises ConfigError for a layer that cannot be exported, with its name.
    """
    model.eval()
    mean, std = [float(value) for value in mean], [float(value) for value in std]  # numpy's own numbers would make float64 images
    channels = image_shape[0]
    pixels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, channels, 1, 1)
    table = normalise(pixels, mean, std)[:, :, 0, 0].t().contiguous().numpy()
    image = Node("image", "image", [], image_shape)
    normalised = Node("normalise", "normalise", [image], image_shape, tensors={"table": table})
    two = torch.randint(0, 256, (2, *image_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    output = trace(model, normalise(two, mean, std), normalised)
    means, stds = (np.broadcast_to(np.asarray(values, np.float32), (channels,)) for values in (mean, std))
    output = without_constants(rewritten(output, means, stds))
    packed = Packed(image_shape, _operations(output), about)
    try:
        infer(packed)
    except Unfit as error:
        raise ConfigError("network", type(model).__name__, f"cannot be exported: {error}") from None
    return packed


def _operations(output: Node) -> tuple[Op, ...]:
    numbers: dict[Node, int] = {}
    ops = []
    for node in in_order(output):
        if node.kind == "image":
            numbers[node] = 0
            continue
        ops.append(_operation(node, tuple(numbers[x] for x in node.inputs)))
        numbers[node] = len(ops)
    return tuple(ops)


def _operation(node: Node, inputs: tuple[int, ...]) -> Op:
    if node.kind != "elementwise":
        tensors = {name: np.ascontiguousarray(values) for name, values in node.tensors.items()}
        return Op(node.kind, node.name, inputs, node.settings, tensors, node.rounding)
    function = node.function
    assert function is not None
    if function.affine is None:
        return Op(node.settings["kind"], node.name, inputs, {}, node.tensors)
    scale, shift, steps, rounding = function.affine
    tensors = {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)}
    return Op("affine", node.name, inputs, {}, tensors, np.stack([np.full_like(rounding, steps), rounding]))
