"""What is the same for every image goes: channels whose sign never flips, as what they add to the sums that take them."""

import numpy as np

from bnn_train.deploy.packed import packed_bits, unpacked_bits
from bnn_train.deploy.packing.graph import Node, consumers, in_order, kind_of
from bnn_train.deploy.packing.rewrite import range_of, set_signs, signs_of

Takers = dict[Node, list[Node]]


def without_constants(output: Node) -> Node:
    """Takes out the constant channels of signs between two layers of whole-number sums; the second adds an offset in their place.

    That is exact. One channel stays at least. An output whose edges are all pruned is such a channel: its sum is always 0. Layers
    in groups, and signs that something else takes too, are left as they are.
    """
    for sign in in_order(output):
        if sign.kind == "sign" and kind_of(sign.inputs[0]) == "whole":
            takers = consumers(output)
            above, below = _makers(sign, takers), _takers(sign, takers)
            if above and below:
                constant = _constant(sign, below)
                if constant.any():
                    _take_out(sign, constant, above, below)
    return output


def _makers(sign: Node, takers: Takers) -> list[Node]:
    """The sign's pools and the product before them, or nothing where one of them has other takers."""
    found, node = [], sign.inputs[0]
    while len(takers[node]) == 1:
        found.append(node)
        if node.kind in ("linear", "conv2d"):
            return found if node.settings.get("groups", 1) == 1 else []
        if node.kind != "max_pool":
            return []
        node = node.inputs[0]
    return []


def _takers(sign: Node, takers: Takers) -> list[Node]:
    """Pools and flattenings behind the sign, and the products that take its bits, these last; nothing where others take them."""
    between, products, open_nodes = [], [], list(takers[sign])
    while open_nodes:
        node = open_nodes.pop()
        if node.kind in ("max_pool", "flatten"):
            between.append(node)
            open_nodes += takers[node]
        elif node.kind in ("linear", "conv2d") and kind_of(node) == "whole" and node.settings.get("groups", 1) == 1:
            products.append(node)
        else:
            return []
    return between + products


def _constant(sign: Node, below: list[Node]) -> np.ndarray:
    """-1 or +1 for each channel that can be taken out, else 0."""
    value, flip = sign.tensors["threshold"].astype(np.int64), np.zeros(sign.shape[0], bool)
    if "flip" in sign.tensors:
        flip = unpacked_bits(sign.tensors["flip"], sign.shape[0])[0].astype(bool)
    at_ends = [np.where((end >= value) != flip, 1, -1) for end in range_of(sign.inputs[0])]
    constant = np.where(at_ends[0] == at_ends[1], at_ends[0], 0)
    for node in below:
        if any(node.settings.get("padding", [0])) and node.kind == "conv2d":
            # What surrounds the image is the pad value: only a channel that is this value too is the same everywhere.
            constant = np.where(constant == node.settings["pad_value"], constant, 0)
    if constant.all():
        constant[0] = 0
    return constant


def _take_out(sign: Node, constant: np.ndarray, above: list[Node], below: list[Node]) -> None:
    kept = constant == 0
    remaining: dict[Node, np.ndarray] = {}
    for node in below:
        if node.kind in ("linear", "conv2d"):
            signs = signs_of(node)
            by_channel = signs.reshape(len(signs), len(constant), -1)
            offset = (by_channel.sum(axis=2, dtype=np.int64) @ constant).astype(np.int32)
            node.tensors["offset"] = node.tensors.get("offset", np.int32(0)) + offset
            remaining[node] = by_channel[:, kept].reshape(len(signs), -1)
    for node in [*above, sign, *(node for node in below if node not in remaining)]:
        places = node.shape[0] // len(constant)  # of a channel, once the image is flat
        node.shape = (int(kept.sum()) * places, *node.shape[1:])
    for node, signs in remaining.items():
        set_signs(node, signs)
    _keep_outputs(above[-1], kept)
    sign.tensors["threshold"] = sign.tensors["threshold"][kept]
    if sign.rounding is not None:
        sign.rounding = sign.rounding[kept]
    if "flip" in sign.tensors:
        sign.tensors["flip"] = packed_bits(unpacked_bits(sign.tensors["flip"], len(kept))[:, kept])


def _keep_outputs(product: Node, kept: np.ndarray) -> None:
    product.settings["outputs"] = int(kept.sum())
    signs = signs_of(product)[kept]
    product.tensors = {name: np.ascontiguousarray(values[kept]) for name, values in product.tensors.items()}
    set_signs(product, signs)  # without a mask, where the pruned edges were those of the outputs that went
    if product.rounding is not None:
        product.rounding = product.rounding[kept]
