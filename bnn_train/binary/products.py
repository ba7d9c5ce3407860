"""Products of tensors of -1 and +1, and their gradients.

The sums of such a product are whole numbers, so int8 factors with int32 sums give bit for bit what float32 gives, at several times
its speed on processors with instructions for it. A geometry, Linear or Conv2d, holds the three products of a layer: `forward`, and
the two of `gradients`, in which one factor is the incoming gradient g, a real tensor. These are float32, or with `fast` products of
whole numbers too: g is rounded to 14 bits, each split into two int8 (see `fixed_point`).

Names of dimensions: x: (N, in) or (N, in, H, W); w: (out, in) or (out, in, kernel height, kernel width); g, and what `forward`
returns, float32: (N, out) or (N, out, H', W'). x and w are int8 and hold -1 and +1, or 0 where an edge is pruned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from bnn_train.binary import passes
from bnn_train.binary.ste import CHUNK
from bnn_train.kernels import elements

PATCH_BYTES = 2**23  # of a convolution's patches that are in memory at a time: more no longer fits into the processor's caches
_LOW = 64  # what the high half of a fixed-point number counts


def fixed_point(g: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """g rounded to whole steps: (halves, scale) with g = scale * (64 high + low); `halves` is high and low, int8, joined at `dim`.

    The largest |g| has 8128 steps of `scale`, so the rounding error is at most 1/16256 of it, in every element. (That of
    bfloat16 is up to 1/512 of the element itself.) NaN and infinity give a scale of NaN or infinity, and so reach the result.
    """
    least, most = torch.aminmax(g)
    scale = torch.maximum(most, -least).clamp(min=1e-30) / (127 * _LOW)
    halves = g.new_empty([2 * size if i == dim else size for i, size in enumerate(g.shape)], dtype=torch.int8)
    high, low = halves.chunk(2, dim)
    if passes.is_large(g) and g.is_contiguous():
        passes.split(g, scale.item(), high, low)
        return halves, scale
    rows = max(1, CHUNK * len(g) // max(1, g.numel()))
    for some, into_high, into_low in zip(g.split(rows), high.split(rows), low.split(rows), strict=True):
        steps = torch.div(some, scale).round_().to(torch.int16)
        torch.bitwise_and(steps, _LOW - 1, out=into_low)
        torch.bitwise_right_shift(steps, 6, out=into_high)  # rounds down: the low half is 0 to 63
    return halves, scale


def whole_product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product of two int8 matrices, as whole numbers: int32, or float64 where a size is 1.

    There torch 2.14's int8 product reads a transposed factor with the wrong stride.
    """
    if 1 in (*a.shape, b.shape[1]):
        return a.double() @ b.double()
    return torch._int_mm(a, b)


def _times(sums: Tensor, scale: Tensor) -> Tensor:
    """float32, scale * sums."""
    if sums.dtype == torch.int32 and sums.numel() > passes.LARGE and sums.is_contiguous() and elements.available():
        return passes.scaled(sums, scale.item())
    return sums.float().mul_(scale)


class Gradients(NamedTuple):
    """Of a product: with respect to x and to w, in the type of g; None where it was not wanted."""

    of_x: Tensor | None
    of_w: Tensor | None


class Linear(NamedTuple):
    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return whole_product(x, w.t()).float()

    def gradients(self, g: Tensor, x: Tensor, w: Tensor, fast: bool, to_x: bool = True, to_w: bool = True) -> Gradients:
        if not fast:
            return Gradients(g @ w.to(g.dtype) if to_x else None, g.t() @ x.to(g.dtype) if to_w else None)
        halves, scale = fixed_point(g, 0)
        of_x = of_w = None
        if to_w:
            of_w = _times(whole_product(halves.t(), torch.cat([x * _LOW, x])), scale)
        if to_x:
            high, low = whole_product(halves, w).chunk(2)
            of_x = (torch.add(low, high, alpha=_LOW) * scale).float()
        return Gradients(of_x, of_w)


class Conv2d(NamedTuple):
    """As torch's, with `padding` in pixels, filled with pad_value, and no groups. Tensors are best in the channels_last format."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    pad_value: int

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if self.pad_value == 0:
            return _Convolution(w, self.stride, self.padding, self.dilation)(x)
        return _Convolution(w, self.stride, (0, 0), self.dilation)(self._pixels(x).permute(0, 3, 1, 2))

    def gradients(self, g: Tensor, x: Tensor, w: Tensor, fast: bool, to_x: bool = True, to_w: bool = True) -> Gradients:
        around = [d * (k - 1) - pad for d, k, pad in zip(self.dilation, w.shape[2:], self.padding, strict=True)]
        if fast and self.stride == (1, 1) and min(around) >= 0:
            return self._fast_gradients(g, x, w, to_x, to_w, (around[0], around[1]))
        of_x = of_w = None
        if to_x:  # what is padded gets no gradient, so that its value does not matter
            of_x = conv2d_input(x.shape, w.to(g.dtype), g, self.stride, self.padding, self.dilation)
        if to_w:
            padded, padding = (x, self.padding) if self.pad_value == 0 else (self._pixels(x).permute(0, 3, 1, 2), (0, 0))
            of_w = conv2d_weight(padded.to(g.dtype), w.shape, g, self.stride, padding, self.dilation)
        return Gradients(of_x, of_w)

    def _fast_gradients(self, g: Tensor, x: Tensor, w: Tensor, to_x: bool, to_w: bool, around: tuple[int, int]) -> Gradients:
        """The gradient of x is the convolution of g, with `around` zeros on each side, with the flipped filters."""
        halves, scale = fixed_point(g.permute(0, 2, 3, 1), 3)
        of_x = of_w = None
        if to_w:
            pixels, kernel = self._pixels(x), w.shape[2:]
            sums = torch.zeros(kernel.numel() * x.shape[1], 2 * len(w), dtype=torch.int32, device=x.device)
            for images in self._parts(x, w):
                under = _patches(pixels[images], w, self.stride, self.dilation)
                sums += whole_product(under.t(), halves[images].flatten(0, 2)).to(torch.int32)
            high, low = sums.to(g.dtype).chunk(2, dim=1)
            of_w = torch.add(low, high, alpha=_LOW).mul_(scale).view(*kernel, x.shape[1], len(w)).permute(3, 2, 0, 1)
        if to_x:
            flipped = w.flip(2, 3).transpose(0, 1)
            both = torch.cat([flipped * _LOW, flipped], dim=1)  # for the high half of g, and for the low one
            of_x = _Convolution(both, (1, 1), around, self.dilation)(halves.permute(0, 3, 1, 2), scale)
        return Gradients(of_x, of_w)

    def _pixels(self, x: Tensor) -> Tensor:
        """x with what surrounds it: (N, padded H, padded W, in)."""
        (height, width), value = self.padding, float(self.pad_value)
        return F.pad(x.permute(0, 2, 3, 1), [0, 0, width, width, height, height], value=value).contiguous()

    def output_size(self, x_shape: Sequence[int], w_shape: Sequence[int]) -> tuple[int, int]:
        sizes = zip(x_shape[2:], w_shape[2:], self.stride, self.padding, self.dilation, strict=True)
        height, width = ((size + 2 * pad - d * (k - 1) - 1) // s + 1 for size, k, s, pad, d in sizes)
        return height, width

    def _parts(self, x: Tensor, w: Tensor) -> list[slice]:
        """The images, in parts of which the patches take PATCH_BYTES or those of one image."""
        height, width = self.output_size(x.shape, w.shape)
        size = max(1, PATCH_BYTES // (height * width * w[0].numel()))
        return [slice(start, start + size) for start in range(0, len(x), size)]


class _Convolution:
    """A convolution with int8 filters w, padded with 0, of int8 images; float32, exact where sums are below 2^24.

    oneDNN's kernel takes the images without a sign, together with the number that stands for 0. It is the one that torch.compile
    uses for quantized networks.
    """

    def __init__(self, w: Tensor, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]) -> None:
        self._geometry = (stride, padding, dilation, 1)
        self._ones, self._zeros = torch.ones(len(w)), torch.zeros(len(w), dtype=torch.int64)
        self._filters = torch.ops.onednn.qconv_prepack(w, self._ones, 1.0, 128, *self._geometry)

    def __call__(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """The convolution of scale * x; without a scale that of x."""
        unsigned = x.contiguous(memory_format=torch.channels_last).bitwise_xor(-128).view(torch.uint8)  # x + 128
        scales = self._ones if scale is None else scale.expand(len(self._ones)).contiguous()
        filters = (self._filters, scales, self._zeros, None)
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            unsigned, 1.0, 128, *filters, *self._geometry, 1.0, 0, torch.float32, "none", [], ""
        )
        return result


def _patches(pixels: Tensor, w: Tensor, stride: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """What lies under the kernel of w at each of its places: (images * places, kernel height * kernel width * channels).

    pixels: (images, padded H, padded W, channels), contiguous.
    """
    n, height, width, channels = pixels.shape
    kernel = w.shape[2:]
    rows, columns = (
        (size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    )
    image, down, right, channel = pixels.stride()
    steps = (image, down * stride[0], right * stride[1], down * dilation[0], right * dilation[1], channel)
    return pixels.as_strided((n, rows, columns, *kernel, channels), steps, pixels.storage_offset()).reshape(n * rows * columns, -1)


Geometry = Linear | Conv2d
