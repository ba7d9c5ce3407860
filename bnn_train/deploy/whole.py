"""Steps of whole-number products: sums of signs, alone or up to the signs behind them, which never leave their bits."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bnn_train.deploy.elementwise import Step, flips
from bnn_train.deploy.layout import Layout, features, in_order, padded
from bnn_train.deploy.packed import Op, Value, inputs_of, packed_bits, weights
from bnn_train.deploy.steps import channels_last, or_pool, patches
from bnn_train.kernels.products import BinaryProduct, ByteProduct


class Signs(NamedTuple):
    """The sign op behind a product, and the max-pool between them, if there is one, with what it gives."""

    op: Op
    pool: Op | None = None
    pooled: Value | None = None


def product(op: Op, result: Value, x: Layout, signs: Signs | None, engine: str | None) -> tuple[Step, Layout]:
    """The sums as int32, or with `signs` the bits that come of them."""
    weight = weights(op, inputs_of(op, x.shape[0])).astype(np.int8)
    offset = op.tensors.get("offset", np.zeros(len(weight), np.int32)).astype(np.int64)
    if signs is None:
        return _sums(op, result, x, weight, offset, engine)
    return _bits(op, result, x, weight, offset, signs, engine)


def _arranged(op: Op, weight: np.ndarray, x: Layout) -> np.ndarray:
    """Weights in the order in which the input lies in memory: int8 (outputs, places), 0 for what pads."""
    if op.kind == "linear":
        return in_order(weight, x)
    last = channels_last(op, weight, x.shape[0])
    if x.kind == "bits":
        last = np.pad(last, ((0, 0), (0, 0), (0, 0), (0, padded(x.shape[0]) - x.shape[0])))
    return last.reshape(len(weight), -1)


def _binary(arranged: np.ndarray, weight: np.ndarray, engine: str | None) -> BinaryProduct:
    """The packed product; with a mask only where edges are pruned, since what pads is 0 on both sides."""
    mask = None if weight.all() else packed_bits(np.abs(arranged))
    return BinaryProduct(packed_bits(arranged), mask, engine)


def _sums(op: Op, result: Value, x: Layout, weight: np.ndarray, offset: np.ndarray, engine: str | None) -> tuple[Step, Layout]:
    arranged = _arranged(op, weight, x)
    shape = result.shape
    layout = features("whole", shape[0]) if op.kind == "linear" else Layout("whole", shape)
    if x.kind == "bytes":
        bytes_product, constant = ByteProduct(arranged, engine), offset.astype(np.int32)
        under = _rows(op, result, x, 0)
        return lambda batch: (bytes_product.sums(under(batch)) + constant).reshape(len(batch), *shape[1:], shape[0]), layout
    binary = _binary(arranged, weight, engine)
    outside = 1 if op.kind == "conv2d" and op.settings["pad_value"] == 1 else 0
    under = _rows(op, result, x, outside)
    edges = np.abs(weight).sum(axis=1, dtype=np.int64) + offset
    lost = np.zeros((1, 1, len(weight)), np.int64)
    if _is_ternary(op):
        lost = np.zeros((*shape[1:], len(weight)), np.int64)
        for region in regions(op, result, x, weight):
            lost[region.rows, region.columns] = region.lost
    constant = (edges + lost).astype(np.int32)

    def step(batch: np.ndarray) -> np.ndarray:
        sums = binary.hamming(under(batch)).reshape(len(batch), *shape[1:], shape[0])
        return constant.reshape(-1)[: shape[0]] - 2 * sums if op.kind == "linear" else constant - 2 * sums

    return step, layout


def _is_ternary(op: Op) -> bool:
    return op.kind == "conv2d" and any(op.settings["padding"]) and op.settings["pad_value"] == 0


def _rows(op: Op, result: Value, x: Layout, outside: int) -> Step:
    """A batch to the rows that the product multiplies; what surrounds an image has the bit `outside` in each channel."""
    if op.kind == "linear":
        return lambda batch: batch
    if x.kind == "bytes":
        bare = patches(op.settings, result, 0)
        return lambda batch: bare(np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))
    return patches(op.settings, result, np.packbits(np.full(x.shape[0], outside, np.uint8)))


class Region(NamedTuple):
    """Places of the result under whose kernel the same edges lie outside the image."""

    rows: slice
    columns: slice
    lost: np.ndarray  # int64 (outputs,): the sum of their weights, which -1 in the place of 0 has taken away


def regions(op: Op, result: Value, x: Layout | Value, weight: np.ndarray) -> Iterator[Region]:
    """All places, in rectangles. weight: int8 (outputs, channels * kernel height * kernel width)."""
    by_place = weight.reshape(len(weight), x.shape[0], *op.settings["kernel"]).sum(axis=1, dtype=np.int64)
    runs = [list(_runs(op, axis, result.shape[1 + axis], x.shape[1 + axis])) for axis in (0, 1)]
    for rows, inside_rows in runs[0]:
        for columns, inside_columns in runs[1]:
            outside = ~np.outer(inside_rows, inside_columns)
            yield Region(rows, columns, by_place[:, outside].sum(axis=1))


def _runs(op: Op, axis: int, places: int, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """(neighbouring places, which taps of the kernel lie inside the image there) along one axis."""
    settings = op.settings
    taps = np.arange(settings["kernel"][axis]) * settings["dilation"][axis]
    at = np.arange(places)[:, None] * settings["stride"][axis] - settings["padding"][axis] + taps
    inside = (at >= 0) & (at < size)
    ends = [*(np.nonzero((inside[1:] != inside[:-1]).any(axis=1))[0] + 1).tolist(), places]
    begin = 0
    for end in ends:
        yield slice(begin, end), inside[begin]
        begin = end


def _bits(
    op: Op, result: Value, x: Layout, weight: np.ndarray, offset: np.ndarray, signs: Signs, engine: str | None
) -> tuple[Step, Layout]:
    """A channel that is +1 for small sums gets the contrary weights, so that each bit is `sum >= limit`."""
    threshold = signs.op.tensors["threshold"].astype(np.int64)
    flip = flips(signs.op, len(weight))
    turned = np.where(flip[:, None], -weight, weight).astype(np.int8)
    limits = np.where(flip, 1 - threshold + offset, threshold - offset)  # s < t is -s >= 1 - t
    shape = result.shape
    arranged = _arranged(op, turned, x)
    if op.kind == "linear":
        compare = _comparer(op, x, arranged, turned, limits, np.zeros_like(limits), engine)
        return compare, features("bits", shape[0])
    pool = None if signs.pool is None else pool_of_turned(signs, flip)
    under = _rows(op, result, x, 1 if op.settings["pad_value"] == 1 else 0)
    places = list(regions(op, result, x, turned)) if _is_ternary(op) else []
    if places:
        binary = _binary(arranged, turned, engine)
        parts = [(region.rows, region.columns, _limits(turned, limits, region.lost)) for region in places]
        raw = _by_region(binary, under, parts, shape)
    else:
        compare = _comparer(op, x, arranged, turned, limits, np.zeros_like(limits), engine)

        def raw(batch: np.ndarray) -> np.ndarray:
            return compare(under(batch)).reshape(len(batch), *shape[1:], -1)

    final = Layout("bits", shape if signs.pooled is None else signs.pooled.shape)
    return (raw if pool is None else lambda batch: pool(raw(batch))), final


def _limits(weight: np.ndarray, limits: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """sum >= limit as hamming <= limit: with n edges, sum = n - 2 hamming + lost."""
    edges = np.abs(weight).sum(axis=1, dtype=np.int64)
    return np.clip((edges + lost - limits) // 2, -1, 2**31 - 1).astype(np.int32)


def _comparer(
    op: Op, x: Layout, arranged: np.ndarray, weight: np.ndarray, limits: np.ndarray, lost: np.ndarray, engine: str | None
) -> Step:
    if x.kind == "bytes":
        bytes_product, bounds = ByteProduct(arranged, engine), np.clip(limits, -(2**31), 2**31 - 1).astype(np.int32)
        return lambda rows: bytes_product.compare(rows, bounds)
    binary, most = _binary(arranged, weight, engine), _limits(weight, limits, lost)
    return lambda rows: binary.compare(rows, most)


def _by_region(binary: BinaryProduct, under: Step, parts: list[tuple[slice, slice, np.ndarray]], shape: tuple[int, ...]) -> Step:
    """What lies outside is 0, while the bits there are -1: each region has limits of its own."""

    def step(batch: np.ndarray) -> np.ndarray:
        rows = under(batch).reshape(len(batch), *shape[1:], -1)
        y = np.empty((len(batch), *shape[1:], -(-shape[0] // 8)), np.uint8)
        for down, right, limits in parts:
            part = rows[:, down, right]
            flat = np.ascontiguousarray(part).reshape(-1, rows.shape[-1])
            y[:, down, right] = binary.compare(flat, limits).reshape(*part.shape[:3], -1)
        return y

    return step


def pool_of_turned(signs: Signs, flip: np.ndarray) -> Step:
    """max(s) >= t is "one s >= t"; of a channel with the contrary sign it is "every one": OR of what is turned around twice."""
    assert signs.pool is not None
    assert signs.pooled is not None
    pool = or_pool(signs.pool, signs.pooled)
    if not flip.any():
        return pool
    turn = np.packbits(flip)
    return lambda bits: pool(bits ^ turn) ^ turn
