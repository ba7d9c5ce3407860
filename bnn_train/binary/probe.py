"""Whether quick products can be trusted here: each way of ways.py is held against float32 on the shapes in use.

A processor with other instructions takes other kernels, and so does another shape; some versions of torch have had wrong ones.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.binary import ways
from bnn_train.binary.packed import PackedWeights
from bnn_train.binary.products import Geometry, Linear
from bnn_train.binary.ste import sign_int8

log = logging.getLogger(__name__)

_LARGEST = 8128  # steps of `fixed_point`: gradients of whole numbers up to it are rounded to themselves
_TOLERANCE = 1e-4  # of the largest sum, for what float32 adds up in another order; a sum that overflows is off by far more
_IMAGES = 8
_PRODUCT = "the product"

_found: dict[Any, bool] = {}


def way(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], fast: bool, device_type: str) -> ways.Way:
    """The best of the rule's ways (ways.py) that is right on this machine."""
    possible = ways.choose(geometry, x_shape, w_shape, fast, device_type)
    return next(one for one in possible if one == ways.FLOATS or is_exact(geometry, x_shape, w_shape, one))


def is_exact(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], by: ways.Way) -> bool:
    """Whether the forward product of such signs, and its gradients, are right on this machine in the given way.

    Computed once for each shape, of a convolution with a few images, which its kernels take one by one. What is wrong is said once.
    """
    images = min(x_shape[0], _IMAGES) if len(x_shape) == 4 else x_shape[0]
    x_shape = (images, *x_shape[1:])
    key = (geometry, x_shape, tuple(w_shape), by)
    if key not in _found:
        try:
            wrong = _difference(geometry, x_shape, w_shape, by)
        except (AttributeError, TypeError, RuntimeError, OSError) as error:  # another torch, without these operators or with others
            wrong = str(error).strip().partition("\n")[0] or type(error).__name__
        if wrong and all(_found.values()):
            shapes = " and ".join("x".join(map(str, shape)) for shape in (x_shape, w_shape))
            kind = "packed" if by.forward == "packed" and wrong == _PRODUCT else "int8"
            log.warning("%s products are not exact here (%s of %s): others are used instead, which are slower", kind, wrong, shapes)
        _found[key] = not wrong
    return _found[key]


@torch.no_grad()
def _difference(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], by: ways.Way) -> str:
    """What differs from float32; "" where nothing does."""
    generator = torch.Generator().manual_seed(0)  # torch's own stays as it was

    def whole(shape: Sequence[int], low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high + 1, tuple(shape), generator=generator)
        return drawn.to(memory_format=torch.channels_last) if drawn.ndim == 4 else drawn

    x, w = (whole(x_shape, 0, 1) * 2 - 1).to(torch.int8), whole(w_shape, -1, 1).to(torch.int8)  # 0 is a pruned edge
    right = _in_float32(geometry, x, w)
    if by.forward == "packed":
        y = PackedWeights().product(geometry, x, w, w.shape, pruned=True, version=None)
        without = sign_int8(w.float())
        full = PackedWeights().product(geometry, x, without, w.shape, pruned=False, version=None)
        if not torch.equal(full, _in_float32(geometry, x, without)):
            return _PRODUCT
    else:
        y = geometry.forward(x, w)
    if not torch.equal(y, right):
        return _PRODUCT
    if by.gradients == "int8":
        g = whole(y.shape, -_LARGEST, _LARGEST).float()
        g[(0,) * g.ndim] = _LARGEST  # so that a step of the rounding is 1
        found, exact = (geometry.gradients(g, x, w, fast=way) for way in (True, False))
        for name, a, b in zip(("the gradient", "the weights' gradient"), found, exact, strict=True):
            assert a is not None
            assert b is not None
            if not (a - b).abs().max() <= _TOLERANCE * b.abs().max():
                return name
    return ""


def _in_float32(geometry: Geometry, x: Tensor, w: Tensor) -> Tensor:
    """The same product; exact, since its sums are far below 2^24."""
    if isinstance(geometry, Linear):
        return x.float() @ w.float().t()
    (height, width), value = geometry.padding, float(geometry.pad_value)
    padded = F.pad(x.float(), [width, width, height, height], value=value)
    return F.conv2d(padded, w.float(), None, geometry.stride, 0, geometry.dilation)
