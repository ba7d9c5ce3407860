"""Chains of operations (deploy/chains.py) as one call of a kernel each, where LLVM compiles them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnn_train.deploy.chains import Chain
from bnn_train.deploy.elementwise import Step, flips, is_shift
from bnn_train.deploy.layout import padded
from bnn_train.deploy.packed import Op, Packed, Value, packed_bits, weights
from bnn_train.deploy.sums import is_exact
from bnn_train.deploy.whole import Signs, pool_of_turned, regions
from bnn_train.kernels import geometry, places

Fused = Callable[..., tuple[np.ndarray, ...] | None]


def fused(packed: Packed, known: Sequence[Value], chain: Chain, grid: tuple[float, float]) -> Fused:
    """A function of the chain's input, of what multiplies and of what is added, that gives the chain's outputs; or None, for some
    real inputs, where it is not certain of them. grid: the largest input, and the number of which all are multiples, as in
    deploy/plan.py."""
    op, result = packed.ops[chain.product], known[chain.product + 1]
    x = known[op.inputs[0]]
    is_real = known[op.inputs[0]].kind == "real"
    made = _real(packed, chain, x, result, known, grid) if is_real else _binary(packed, chain, x, result, known)
    pool = _pool_behind(packed, chain, known)

    names = [name for name, i in (("gate", chain.multiply), ("other", chain.add)) if i is not None]

    def step(batch: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...] | None:
        given = {name: np.ascontiguousarray(other, np.float32) for name, other in zip(names, others, strict=True)}
        both = made(np.ascontiguousarray(batch if chain.normalise is not None or not is_real else _filled(batch)), **given)
        if both is None:
            return None
        found = tuple(values for values in both if values is not None)
        return found if pool is None else (pool(found[0]),)

    return step


def _filled(batch: np.ndarray) -> np.ndarray:
    """Real pixels with as many channels of 0 as make vectors of 8 full: a gate's few numbers for each image."""
    channels = batch.shape[-1]
    if channels % 8 == 0:
        return batch
    full = np.zeros((*batch.shape[:-1], padded(channels)), np.float32)
    full[..., :channels] = batch
    return full


def _is_in_kernel(pool: Op) -> bool:
    return list(pool.settings["kernel"]) == list(pool.settings["stride"]) == [2, 2] and not any(pool.settings["padding"])


def _pool_behind(packed: Packed, chain: Chain, known: Sequence[Value]) -> Step | None:
    """Of bits, where the kernel does not do it."""
    if chain.pool is None or chain.sign is None or _is_in_kernel(packed.ops[chain.pool]):
        return None
    signs = Signs(packed.ops[chain.sign], packed.ops[chain.pool], known[chain.pool + 1])
    return pool_of_turned(signs, flips(packed.ops[chain.sign], known[chain.sign + 1].shape[0]))


def _geometry(op: Op, x: Value, result: Value, pixel: int) -> geometry.Geometry:
    pairs: list[Any] = [tuple(op.settings[name]) for name in ("kernel", "stride", "padding", "dilation")]
    return geometry.Geometry(x.shape[1], x.shape[2], pixel, *pairs, *result.shape[1:])


def _after(packed: Packed, chain: Chain, known: Sequence[Value], is_whole: bool) -> geometry.After:
    affine, signs = None, None
    if chain.affine is not None:
        of = packed.ops[chain.affine].tensors
        affine = geometry.Affine(of["scale"].astype(np.float64), of["shift"].astype(np.float64))
    if chain.sign is not None:
        tensors, channels = packed.ops[chain.sign].tensors, known[chain.sign + 1].shape[0]
        in_kernel = chain.pool is not None and _is_in_kernel(packed.ops[chain.pool])
        pooled = known[chain.pool + 1].shape[1:] if chain.pool is not None and in_kernel else None
        flip = flips(packed.ops[chain.sign], channels)
        signs = geometry.Signs(None if is_whole else tensors["threshold"], flip, pooled)  # type: ignore[arg-type]
    each = tuple(_each(packed.ops[i], known[i + 1].shape[0]) for i in chain.each)
    return geometry.After(chain.keeps_numbers, signs, affine, chain.multiply is not None, chain.add is not None, each)


def _each(op: Op, channels: int) -> geometry.Each:
    if op.kind == "affine":
        scale, shift = op.tensors["scale"], op.tensors["shift"]
        if is_shift(op):
            return geometry.Each("shift", (shift,))
        return geometry.Each("affine", (scale.astype(np.float64), shift.astype(np.float64)))
    if op.kind == "clamp":
        return geometry.Each("clamp", tuple(np.full(channels, limit) for limit in op.tensors["limits"]))
    return geometry.Each(op.kind, (op.tensors["slope"],) if op.kind == "prelu" else ())


def _binary(packed: Packed, chain: Chain, x: Value, result: Value, known: Sequence[Value]) -> places.Convolution:
    """What lies outside is 0, while the bits there are -1: places at the border have limits of their own."""
    op = packed.ops[chain.product]
    kernel, channels = op.settings["kernel"], x.shape[0]
    weight = weights(op, channels * kernel[0] * kernel[1]).astype(np.int8)
    outputs = len(weight)
    is_whole = known[chain.last_number + 1].kind == "whole"
    offset = op.tensors.get("offset", np.zeros(outputs, np.int32)).astype(np.int64)
    edges = np.abs(weight).sum(axis=1, dtype=np.int64) + offset
    lost, of_place = np.zeros((1, outputs), np.int64), np.zeros(result.shape[1:], np.int64)
    if any(op.settings["padding"]) and op.settings["pad_value"] == 0:
        found = list(regions(op, result, x, weight))
        lost = np.stack([region.lost for region in found])
        for number, region in enumerate(found):
            of_place[region.rows, region.columns] = number
    limits = edges + lost
    if is_whole and chain.sign is not None:
        threshold = packed.ops[chain.sign].tensors["threshold"].astype(np.int64)
        limits = np.clip((limits - threshold) // 2, -1, 2**31 - 1)  # edges - 2 * distance + lost >= threshold
    arranged = np.zeros((outputs, *kernel, padded(channels)), np.int8)
    arranged[..., :channels] = weight.reshape(outputs, channels, *kernel).transpose(0, 2, 3, 1)

    def bits(values: np.ndarray) -> np.ndarray:
        return packed_bits(values.reshape(outputs, -1)).reshape(outputs, *kernel, -1)

    outside = np.packbits(np.full(channels, op.settings["pad_value"] == 1))
    mask = None if weight.all() else bits(np.abs(arranged))
    under = _geometry(op, x, result, padded(channels) // 8)
    after = _after(packed, chain, known, is_whole)
    return places.binary(under, bits(arranged), mask, after, limits.astype(np.int32), of_place.reshape(-1), outside)


def _real(
    packed: Packed, chain: Chain, x: Value, result: Value, known: Sequence[Value], grid: tuple[float, float]
) -> places.Convolution:
    op = packed.ops[chain.product]
    kernel, channels = op.settings["kernel"], x.shape[0]
    weight = weights(op, channels * kernel[0] * kernel[1]).astype(np.float64)
    bias = op.tensors.get("bias", np.zeros(len(weight), np.float32)).astype(np.float64)
    exact = grid[1] > 0 and is_exact(weight, bias, *grid)
    last = weight.reshape(-1, channels, *kernel).transpose(0, 2, 3, 1)
    if chain.normalise is None:
        last = np.pad(last, ((0, 0), (0, 0), (0, 0), (0, padded(channels) - channels)))
    table = None if chain.normalise is None else packed.ops[chain.normalise].tensors["table"].astype(np.float64)
    after, outside = _after(packed, chain, known, False), float(op.settings["pad_value"])
    return places.real(_geometry(op, x, result, last.shape[-1]), last, bias, table, after, outside, exact)
