"""Rewrites of the traced network that change nothing of what it computes but the rounding of torch's real sums.

In this order: bits become numbers where they meet some; signs go up through pools to where the sums are; a first layer on pixels
sums whole numbers; what stands between a sum and its sign becomes a threshold; what stands between whole sums and a real layer goes
into the layer's weights.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from bnn_train.deploy.packed import packed_bits, unpacked_bits
from bnn_train.deploy.packing import thresholds
from bnn_train.deploy.packing.graph import Affine, Elementwise, Node, consumers, in_order, kind_of, replace

UNIT = 2.0**-24  # the largest relative error of one float32 operation
_ROOM = 14  # roundings between a sum and the product that takes it: BatchNorm and an output scale have 13
_GRID = 2.0**-30  # to which multiples of a row's largest weight weights are rounded, so that no float64 sum of theirs is


def rewritten(output: Node, mean: np.ndarray, std: np.ndarray) -> Node:
    """The output of the rewritten graph. mean, std: float32 (channels,), of the normalisation."""
    for rewrite in (_numbers_of_bits, _one_sign_each, _signs_first):
        output = rewrite(output)
    output = _whole_pixels(output, mean, std)
    for rewrite in (_signs_of_sums, _whole_heads):
        output = rewrite(output)
    return output


def inputs_of(node: Node) -> int:
    """How many products an output of a linear layer or a convolution sums."""
    channels = node.inputs[0].shape[0]
    return channels if node.kind == "linear" else channels // node.settings["groups"] * math.prod(node.settings["kernel"])


def signs_of(node: Node) -> np.ndarray:
    """The binary weights of a node, int8 -1, 0 where pruned, +1: (outputs, inputs)."""
    count = inputs_of(node)
    signs = 2 * unpacked_bits(node.tensors["weight"], count).astype(np.int8) - 1
    return signs * unpacked_bits(node.tensors["mask"], count).astype(np.int8) if "mask" in node.tensors else signs


def set_signs(node: Node, signs: np.ndarray) -> None:
    """Gives the node these weights of -1, 0 and +1."""
    node.tensors["weight"] = packed_bits(signs)
    node.tensors.pop("mask", None)
    if not signs.all():
        node.tensors["mask"] = packed_bits(np.abs(signs))


def range_of(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest whole number of each channel that there can be, int64 (channels,)."""
    if node.kind in ("linear", "conv2d"):
        signs = signs_of(node)
        plus, minus = ((signs == s).sum(axis=1, dtype=np.int64) for s in (1, -1))
        offset = node.tensors.get("offset", np.zeros(len(signs), np.int32)).astype(np.int64)
        if kind_of(node.inputs[0]) == "bytes":
            return offset - 255 * minus, offset + 255 * plus
        return offset - plus - minus, offset + plus + minus
    ends = [range_of(x) for x in node.inputs]
    low, high = (np.concatenate([end[side] for end in ends]) for side in (0, 1))
    if node.kind == "slice":
        part = slice(node.settings["start"], node.settings["stop"])
        return low[part], high[part]
    if node.kind == "flatten":
        places = math.prod(node.inputs[0].shape[1:])
        return low.repeat(places), high.repeat(places)
    return (np.minimum(low, -1), np.maximum(high, 1)) if node.kind == "pad" else (low, high)


def _numbers_of_bits(output: Node) -> Node:
    """Bits and whole sums that are concatenated with other kinds, and bits that are padded with 0, as real numbers."""
    for node in in_order(output):
        if node.kind == "concatenate" and len({kind_of(x) for x in node.inputs}) > 1:
            node.inputs = [x if kind_of(x) == "real" else _as_real(x) for x in node.inputs]
        elif node.kind == "pad" and node.settings["pad_value"] == 0 and kind_of(node) == "bits":
            node.inputs = [_as_real(node.inputs[0])]
    return output


def _as_real(x: Node) -> Node:
    one, zero = np.ones(x.shape[0]), np.zeros(x.shape[0])
    function = Elementwise(lambda values: values, Affine(one, zero, 0, zero), rising=True)
    return Node("elementwise", x.name, [x], x.shape, function=function)


def _one_sign_each(output: Node) -> Node:
    """Layers that read the same input share its sign; a sign of signs goes."""
    first: dict[Node, Node] = {}
    for node in in_order(output):
        if node.kind == "sign":
            x = node.inputs[0]
            same = x if kind_of(x) == "bits" else first.setdefault(x, node)
            if same is not node:
                output = replace(output, node, same)
    return output


def _signs_first(output: Node) -> Node:
    """sign(max-pool(x)) is max-pool(sign(x)): a bit for each number, and the sums next to their sign. So with flatten and slice."""
    changed = True
    while changed:
        changed = False
        for node, takers in consumers(output).items():
            movable = node.kind in ("max_pool", "flatten", "slice") and takers and kind_of(node) != "bits"
            if movable and all(taker.kind == "sign" for taker in takers):
                (x,), sign = node.inputs, takers[0]
                output = replace(output, sign, node)
                node.inputs = [Node("sign", sign.name, [x], x.shape)]
                changed = True
                break
        output = _one_sign_each(output)
    return output


def _whole_pixels(output: Node, mean: np.ndarray, std: np.ndarray) -> Node:
    """sum of w (u / 255 - mean) / std is whole, sum of w u, but for one scale and shift; where std is the same in all channels.

    Not for a padded convolution: what is padded is the number 0, which is no pixel.
    """
    if (std != std[0]).any():
        return output
    for node in in_order(output):
        if node.kind not in ("linear", "conv2d") or node.tensors["weight"].dtype != np.uint8:
            continue
        (x,) = node.inputs
        normalise = x.inputs[0] if x.kind == "flatten" else x
        if normalise.kind != "normalise" or any(node.settings.get("padding", [0])) or node.settings.get("groups", 1) != 1:
            continue
        (image,) = normalise.inputs
        node.inputs = [image if x is normalise else Node("flatten", x.name, [image], x.shape)]
        signs = signs_of(node).reshape(node.settings["outputs"], len(mean), -1).astype(np.float64)
        unit = 255.0 * float(std[0])
        shift = -(signs.sum(axis=2) @ mean.astype(np.float64)) / float(std[0])
        largest = float(np.abs(normalise.tensors["table"]).max())
        edges = np.abs(signs).sum(axis=(1, 2))
        bias = 0.0 if node.rounding is None else node.rounding
        # Of torch's sum of float32 products, in pixels; 4 more steps round each normalised pixel.
        node.rounding = UNIT * (inputs_of(node) + 4) * (edges * largest + bias) * unit
        scale = np.full(len(shift), 1 / unit)
        function = Elementwise(_pixel_sum(scale, shift), Affine(scale, shift, 4, 4 * np.abs(shift)), rising=True, wide=True)
        scaled = Node("elementwise", node.name, [node], node.shape, function=function)
        output = replace(output, node, scaled)
        scaled.inputs = [node]
    return output


def _pixel_sum(scale: np.ndarray, shift: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    factor, term = torch.from_numpy(scale), torch.from_numpy(shift)
    return lambda sums: (sums.double() * factor + term).float()


def _needed(output: Node) -> set[Node]:
    """The elementwise nodes whose numbers something else than signs asks for."""
    needed: set[Node] = set()
    for node in reversed(in_order(output)):
        if node.kind == "sign" or (node.kind == "elementwise" and node not in needed and node is not output):
            continue
        needed.update(x for x in node.inputs if x.kind == "elementwise")
    return needed


def _signs_of_sums(output: Node) -> Node:
    """Gives each sign its threshold, behind as many elementwise functions as nothing else needs."""
    needed = _needed(output)
    for node in in_order(output):
        if node.kind != "sign":
            continue
        (x,) = node.inputs
        chain: list[Elementwise] = []
        place: list[Node] = [x]
        while x.kind == "elementwise" and x not in needed:
            chain.insert(0, x.function)  # type: ignore[arg-type]
            (x,) = x.inputs
            place.append(x)
        while True:
            found = _threshold(x, chain)
            if found is not None:
                break
            place.pop()  # it flips twice: begin behind its first function
            x, chain = place[-1], chain[1:]
        node.inputs = [x]
        _set_threshold(node, found)
        if kind_of(x) == "whole" and all(function.rising for function in chain):
            node.rounding = thresholds.turning_points(chain, found)
    return output


def _threshold(x: Node, chain: list[Elementwise]) -> thresholds.Threshold | None:
    if kind_of(x) == "whole":
        return thresholds.of_whole_numbers(chain, *range_of(x))
    return thresholds.of_real_numbers(chain, x.shape[0])


def _set_threshold(node: Node, found: thresholds.Threshold) -> None:
    value = found.value
    if value.dtype != np.float32:
        small = np.abs(value).max() < 2**15
        value = value.astype(np.int16 if small else np.int32)
    node.tensors = {"threshold": value}
    if found.flip.any():
        node.tensors["flip"] = packed_bits(found.flip[None])


def _whole_heads(output: Node) -> Node:
    """W (scale s + shift) is (W scale) s + W shift: a real layer on whole numbers s, whose float64 sums are exact."""
    takers = consumers(output)
    for node in in_order(output):
        if node.kind != "linear" or node.tensors["weight"].dtype == np.uint8:
            continue
        scale, shift, rounding = np.ones(inputs_of(node)), np.zeros(inputs_of(node)), np.zeros(inputs_of(node))
        x, places, flat, steps = node.inputs[0], 1, "", 0.0
        while True:
            if x.kind == "flatten":
                places, flat = math.prod(x.inputs[0].shape[1:]), x.name
            elif _is_foldable(x, takers, steps):
                inner = x.function.affine  # type: ignore[union-attr]
                assert inner is not None
                term = scale * inner.shift.repeat(places)
                rounding = rounding + np.abs(scale) * inner.rounding.repeat(places) + steps * np.abs(term)
                shift, scale, steps = shift + term, scale * inner.scale.repeat(places), steps + inner.steps
            else:
                break
            (x,) = x.inputs
        if kind_of(x) != "whole" or ((scale == 1).all() and (shift == 0).all()):
            continue
        weight = node.tensors["weight"].astype(np.float64)
        bias = node.tensors.get("bias", np.zeros(len(weight), np.float32)).astype(np.float64)
        node.tensors, grid = _on_grid(weight * scale, bias + weight @ shift)
        # deploy/bounds.py multiplies this by (inputs + 16) 2^-24. What is off by half a step of the grid is no rounding of float32.
        largest = np.maximum(*(np.abs(end) for end in range_of(x))).sum(dtype=np.float64) * places + 1
        node.rounding = np.abs(weight) @ (np.abs(shift) + rounding / 16) + np.abs(bias) + grid * largest / UNIT / inputs_of(node)
        node.inputs = [Node("flatten", flat, [x], node.inputs[0].shape)] if flat else [x]
    return output


def _is_foldable(x: Node, takers: dict[Node, list[Node]], steps: float) -> bool:
    """Whether nothing else takes an affine function, and deploy/bounds.py has room for its rounding."""
    affine = None if x.function is None else x.function.affine
    return affine is not None and len(takers[x]) == 1 and steps + affine.steps <= _ROOM


def _on_grid(weight: np.ndarray, bias: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """As float32 numbers that are multiples of a power of two each row, float64 (rows,)."""
    largest = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny)
    grid = 2.0 ** np.ceil(np.log2(largest)) * _GRID
    rounded = np.rint(weight / grid[:, None]) * grid[:, None]
    return {"weight": rounded.astype(np.float32), "bias": (np.rint(bias / grid) * grid).astype(np.float32)}, grid
