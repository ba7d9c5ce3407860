"""Products of tensors of -1 and +1, and their gradients, by kernels of our own.

Forward the sums are whole numbers: packed, 8 signs to a byte, and counted (binary/packed.py), they are bit for bit what float32
gives. In the gradients one factor is the incoming gradient g, a real tensor: tables (binary/tables.py) give float32's exactness,
not its bits. A geometry, Linear or Conv2d, says how a layer multiplies.

Names of dimensions: x: (N, in) or (N, in, H, W); w: (out, in) or (out, in, kernel height, kernel width); g float32: (N, out) or
(N, out, H', W'). x and w are int8 and hold -1 and +1, w also 0 where an edge is pruned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from bnn_train.binary import tables


class Linear(NamedTuple):
    pass


class Conv2d(NamedTuple):
    """As torch's, with `padding` in pixels, filled with pad_value, and no groups. Tensors are best in the channels_last format."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    pad_value: int

    def output_size(self, x_shape: Sequence[int], w_shape: Sequence[int]) -> tuple[int, int]:
        sizes = zip(x_shape[2:], w_shape[2:], self.stride, self.padding, self.dilation, strict=True)
        height, width = ((size + 2 * pad - d * (k - 1) - 1) // s + 1 for size, k, s, pad, d in sizes)
        return height, width


Geometry = Linear | Conv2d


class Gradients(NamedTuple):
    """Of a product: with respect to x and to w, float32; None where it was not wanted."""

    of_x: Tensor | None
    of_w: Tensor | None


def gradients(
    geometry: Geometry, g: Tensor, x: Tensor, w: Tensor, pruned: bool = False, to_x: bool = True, to_w: bool = True
) -> Gradients:
    """By tables where the sizes allow it, else by torch. pruned: whether w may hold 0; the gradient of w does not look at that."""
    if not tables.takes(x.shape, w.shape):
        return torchs_gradients(geometry, g, x, w, to_x, to_w)
    of_x = of_w = None
    if to_x and _is_turned(geometry, w):
        if pruned:  # 0 is the mean of -1 and +1
            low, high = (_of_x(geometry, g, x, torch.where(w == 0, one, w)) for one in (-1, 1))
            of_x = (low + high) / 2
        else:
            of_x = _of_x(geometry, g, x, w)
    elif to_x:
        of_x = torchs_gradients(geometry, g, x, w, True, False).of_x
    if to_w and isinstance(geometry, Linear):
        of_w = tables.product(g.t(), x)
    elif to_w:
        assert isinstance(geometry, Conv2d)
        of_w = tables.of_filters(g, *_padded(geometry, x), w.shape, geometry.stride, geometry.dilation)
    return Gradients(of_x, of_w)


def _is_turned(geometry: Geometry, w: Tensor) -> bool:
    """Whether the gradient of x is the convolution of g, with zeros around it, with the filters turned around."""
    if isinstance(geometry, Linear):
        return True
    reaches = zip(geometry.dilation, w.shape[2:], geometry.padding, strict=True)
    return geometry.stride == (1, 1) and all(d * (k - 1) >= pad for d, k, pad in reaches)


def _of_x(geometry: Geometry, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
    if isinstance(geometry, Linear):
        return tables.product(g, w)
    return tables.of_input(g, w, x.shape, geometry.padding, geometry.dilation)  # what is padded gets no gradient


def _padded(geometry: Conv2d, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """x and the zeros around it that are left: what else surrounds it becomes a part of it."""
    (height, width), value = geometry.padding, float(geometry.pad_value)
    return (x, geometry.padding) if value == 0 else (F.pad(x, [width, width, height, height], value=value), (0, 0))


def torchs_gradients(geometry: Geometry, g: Tensor, x: Tensor, w: Tensor, to_x: bool = True, to_w: bool = True) -> Gradients:
    """Float32 products of torch's own."""
    of_x = of_w = None
    if isinstance(geometry, Linear):
        return Gradients(g @ w.to(g.dtype) if to_x else None, g.t() @ x.to(g.dtype) if to_w else None)
    if to_x:
        of_x = conv2d_input(x.shape, w.to(g.dtype), g, geometry.stride, geometry.padding, geometry.dilation)
    if to_w:
        padded, padding = _padded(geometry, x)
        of_w = conv2d_weight(padded.to(g.dtype), w.shape, g, geometry.stride, padding, geometry.dilation)
    return Gradients(of_x, of_w)
