"""Whether kernels can be trusted here: they are held against torch's float32 products, on the shapes in use.

A processor with other instructions gets other code from LLVM, and so does another shape.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.binary import products, tables, ways
from bnn_train.binary.packed import PackedWeights
from bnn_train.binary.products import Geometry, Linear

log = logging.getLogger(__name__)

_LARGEST = 1000  # of gradients of whole numbers: all sums are below 2^24 here, so that float32 holds them
_IMAGES = 8

_found: dict[Any, bool] = {}


def by_kernels(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], device_type: str) -> bool:
    """Whether a product goes by kernels: the rule (ways.py) says so, and they are right on this machine."""
    return ways.by_kernels(geometry, x_shape, w_shape, device_type) and is_exact(geometry, x_shape, w_shape)


def is_exact(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> bool:
    """Whether the forward product of signs of these shapes, and its gradients, are right on this machine.

    Computed once for each shape, with a few images, which kernels take one by one. What is wrong is said once.
    """
    x_shape = (min(x_shape[0], _IMAGES), *x_shape[1:])
    key = (geometry, x_shape, tuple(w_shape))
    if key not in _found:
        try:
            wrong = _difference(geometry, x_shape, w_shape)
        except (AttributeError, TypeError, RuntimeError, OSError) as error:
            wrong = str(error).strip().partition("\n")[0] or type(error).__name__
        if wrong and all(_found.values()):
            shapes = " and ".join("x".join(map(str, shape)) for shape in (x_shape, w_shape))
            log.warning("kernels are not exact here (%s of %s): torch's products are used instead, which are slower", wrong, shapes)
        _found[key] = not wrong
    return _found[key]


def real_by_kernels(x_shape: Sequence[int], w_shape: Sequence[int], device_type: str) -> bool:
    """Whether the product of real inputs, (N, in), with signs goes by kernels, as `by_kernels` says of two signs."""
    if not (ways.by_kernels(Linear(), x_shape, w_shape, device_type) and tables.takes_real(w_shape[1], w_shape[0])):
        return False
    key = ("real", tuple(w_shape))
    if key not in _found:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(-_LARGEST, _LARGEST, (_IMAGES, w_shape[1]), generator=generator).float()
        w = (torch.randint(0, 2, tuple(w_shape), generator=generator) * 2 - 1).to(torch.int8)
        _found[key] = torch.equal(tables.real_product(x, tables.turned(w)), x @ w.float().t())
        if not _found[key]:
            log.warning("kernels are not exact here (real inputs and %dx%d): torch's products are used instead", *w_shape)
    return _found[key]


@torch.no_grad()
def _difference(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> str:
    """What differs from float32; "" where nothing does."""
    generator = torch.Generator().manual_seed(0)  # torch's own stays as it was

    def whole(shape: Sequence[int], low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high + 1, tuple(shape), generator=generator)
        return drawn.to(memory_format=torch.channels_last) if drawn.ndim == 4 else drawn

    x, w = ((whole(shape, 0, 1) * 2 - 1).to(torch.int8) for shape in (x_shape, w_shape))
    kept = whole(w_shape, 0, 1).to(torch.int8)
    for pruned, weight in ((False, w), (True, w * kept)):
        y = PackedWeights().product(geometry, x, weight.clone, weight.shape, pruned, is_fixed=False)
        if not torch.equal(y, _in_float32(geometry, x, weight)):
            return "the product"
    g = whole(y.shape, -_LARGEST, _LARGEST).float()
    found, exact = products.gradients(geometry, g, x, w), products.torchs_gradients(geometry, g, x, w)
    for name, a, b in zip(("the gradient", "the weights' gradient"), found, exact, strict=True):
        assert a is not None
        assert b is not None
        if not torch.equal(a, b):
            return name
    return ""


def _in_float32(geometry: Geometry, x: Tensor, w: Tensor) -> Tensor:
    """The same product; exact, since its sums are far below 2^24."""
    if isinstance(geometry, Linear):
        return x.float() @ w.float().t()
    (height, width), value = geometry.padding, float(geometry.pad_value)
    padded = F.pad(x.float(), [width, width, height, height], value=value)
    return F.conv2d(padded, w.float(), None, geometry.stride, 0, geometry.dilation)
