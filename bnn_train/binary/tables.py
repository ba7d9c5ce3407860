"""Gradients of products of signs in float32 by tables: the incoming gradient, real, times signs, four of them at a time.

As exact as torch's float32 products, whose bits they do not have, at several times their speed (kernels/ir_tables.py).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnn_train.kernels import tables
from bnn_train.kernels.geometry import Geometry

Pair = tuple[int, int]
Fours = NDArray[np.uint8]


def takes(x_shape: Sequence[int], w_shape: Sequence[int]) -> bool:
    """Whether the gradients of a product of these sizes can go by tables."""
    images, outputs, channels = x_shape[0], w_shape[0], x_shape[1]
    if tables.lanes() == 0 or images % 4 or outputs % 4:
        return False
    return channels % tables.COLUMNS == 0 if len(x_shape) == 2 else channels % tables.CHANNELS == 0 and outputs % 8 == 0


def product(a: Tensor, signs: Tensor) -> Tensor:
    """a @ signs. a: float32 (rows, terms), of any strides; signs: int8, -1 or +1, (terms, columns), contiguous."""
    terms, columns = signs.shape
    return _product(a, tables.fours(signs.data_ptr(), terms, columns, torch.get_num_threads()))


def _product(a: Tensor, four: Fours) -> Tensor:
    out = a.new_empty(len(a), four.shape[1])
    strides = a.element_size() * a.stride(0), a.element_size() * a.stride(1)
    tables.product(a.data_ptr(), strides, len(a), four, out.data_ptr(), torch.get_num_threads())
    return out


def takes_real(inputs: int, outputs: int) -> bool:
    """Whether `real_product` takes such sizes."""
    return tables.lanes() > 0 and inputs % 8 == 0 and outputs % tables.COLUMNS == 0


def turned(w: Tensor) -> Fours:
    """The signs of w, int8 (out, in), contiguous, for `real_product`."""
    outputs, inputs = w.shape
    return tables.fours_of_rows(w.data_ptr(), outputs, inputs, torch.get_num_threads())


def real_product(x: Tensor, w: Fours) -> Tensor:
    """x @ w.T, x float32 (N, in), w what `turned` gives of signs."""
    return _product(x, w)


def of_input(g: Tensor, w: Tensor, x_shape: Sequence[int], padding: Pair, dilation: Pair) -> Tensor:
    """The gradient of a convolution's input, of stride 1. g: (N, out, H', W'); w: int8 (out, in, kernel height, kernel width)."""
    pixels = g.permute(0, 2, 3, 1).contiguous()
    images, height, width, outputs = pixels.shape
    channels, rows, columns = x_shape[1:]
    kernel = (w.shape[2], w.shape[3])
    around = (dilation[0] * (kernel[0] - 1) - padding[0], dilation[1] * (kernel[1] - 1) - padding[1])
    grid = Geometry(height, width, tables.pixel_bytes(outputs), kernel, (1, 1), around, dilation, rows, columns)
    signs = w.flip(2, 3).permute(2, 3, 0, 1).contiguous()
    out = g.new_empty(images, rows, columns, channels)
    sizes = images, outputs, signs.data_ptr(), channels
    tables.of_input(pixels.data_ptr(), grid, *sizes, out.data_ptr(), torch.get_num_threads())
    return out.permute(0, 3, 1, 2)


def of_filters(g: Tensor, x: Tensor, padding: Pair, w_shape: Sequence[int], stride: Pair, dilation: Pair) -> Tensor:
    """The gradient of a convolution's filters. x: int8 (N, in, H, W), padded with 0."""
    pixels, signs = g.permute(0, 2, 3, 1).contiguous(), x.permute(0, 2, 3, 1).contiguous()
    images, rows, columns, outputs = pixels.shape
    _, height, width, channels = signs.shape
    grid = Geometry(height, width, 0, (w_shape[2], w_shape[3]), stride, padding, dilation, rows, columns)
    sizes = images, outputs, signs.data_ptr(), channels
    found = tables.of_filters(pixels.data_ptr(), grid, *sizes, torch.get_num_threads())
    return torch.from_numpy(found).permute(0, 3, 1, 2)
