"""Forward products by counting bits: signs are packed, 8 to a byte, and the sums are those of float32, bit for bit."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary import tables
from bnn_train.binary.products import Conv2d, Geometry, Linear
from bnn_train.kernels import geometry as grids
from bnn_train.kernels import training

Version = tuple[int, ...]  # of a tensor that is kept: which it is, and at which moment (binary/signs.py)


class PackedWeights:
    """A layer's, arranged for the kernel, and of which version of its latent weight they are."""

    def __init__(self) -> None:
        self._made: dict[Any, training.SignConvolution] = {}  # of each size of images
        self._turned: tuple[Any, Version | None] = (None, None)
        self._are: dict[Any, Version | None] = {}

    def fours(self, w: Callable[[], Tensor], version: Version | None) -> tables.Fours:
        """Of a layer with real inputs: tables.turned(w())."""
        if version is None or self._turned[1] != version:
            self._turned = tables.turned(w()), version
        return self._turned[0]

    def product(
        self, geometry: Geometry, x: Tensor, w: Callable[[], Tensor], w_shape: torch.Size, pruned: bool, version: Version | None
    ) -> Tensor:
        """The product of x and w() (binary/products.py), channels a multiple of 8. w is asked where its `version` is not known."""
        grid, pad = _grid(geometry, x.shape, w_shape)
        key = (grid, w_shape[0], pad, pruned)
        convolution = self._made.get(key)
        if convolution is None:
            convolution = self._made[key] = training.SignConvolution(grid, w_shape[0], pad, pruned)
        if version is None or self._are.get(key) != version:
            signs = w()
            filters = signs.view(*signs.shape, 1, 1) if signs.ndim == 2 else signs
            convolution.set(filters.permute(0, 2, 3, 1).contiguous().numpy())
            self._are[key] = version
        pixels = (x if x.ndim == 2 else x.permute(0, 2, 3, 1)).contiguous()
        threads = torch.get_num_threads()
        shape = (len(x), grid.height, grid.width, grid.pixel)
        sums = torch.from_numpy(convolution(training.pack(pixels.data_ptr(), pixels.numel(), shape, threads), threads))
        return sums.view(len(x), -1) if x.ndim == 2 else sums.permute(0, 3, 1, 2)


_of_layer: "weakref.WeakKeyDictionary[nn.Module, PackedWeights]" = weakref.WeakKeyDictionary()


def weights_of(layer: nn.Module) -> PackedWeights:
    """Kept beside the layer, not in it: a copy of the layer packs its own, a file has none."""
    found = _of_layer.get(layer)
    if found is None:
        found = _of_layer[layer] = PackedWeights()
    return found


def _grid(geometry: Geometry, x_shape: torch.Size, w_shape: torch.Size) -> tuple[grids.Geometry, int]:
    """The places of a product in memory, and what surrounds its images."""
    if isinstance(geometry, Linear):
        return grids.Geometry(1, 1, x_shape[1] // 8, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1), 0
    assert isinstance(geometry, Conv2d)
    height, width = x_shape[2], x_shape[3]
    rows, columns = geometry.output_size(x_shape, w_shape)
    kernel = (w_shape[2], w_shape[3])
    pixel = x_shape[1] // 8
    return grids.Geometry(height, width, pixel, kernel, *geometry[:3], rows, columns), geometry.pad_value
