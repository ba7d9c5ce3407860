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


class PackedWeights:
    """A layer's signs, arranged for kernels. They are made anew for every product but while somebody `holds` the weights.

    Whether a weight was written to cannot be asked: torch's fused optimizers leave a tensor's version as it was.
    """

    def __init__(self) -> None:
        self._made: dict[Any, training.SignConvolution] = {}  # of each size of images
        self._holders = 0
        self._known: dict[Any, Any] = {}  # what is ready for the weights that are held

    def hold(self, more: int) -> None:
        """more: 1 where somebody begins to see to it that the weights do not change, -1 where that ends."""
        self._holders += more
        if self._holders == 0 or more > 0:
            self._known.clear()

    def fours(self, w: Callable[[], Tensor], is_fixed: bool) -> tables.Fours:
        """Of a layer with real inputs: tables.turned(w()). is_fixed: as in `product`."""
        found = self._known.get("fours") if is_fixed else None
        return found if found is not None else self._keep("fours", tables.turned(w()), is_fixed)

    def _keep(self, key: Any, value: Any, is_fixed: bool) -> Any:
        if is_fixed and self._holders:
            self._known[key] = value
        return value

    def product(
        self, geometry: Geometry, x: Tensor, w: Callable[[], Tensor], w_shape: torch.Size, pruned: bool, is_fixed: bool
    ) -> Tensor:
        """The product of x and w() (binary/products.py), channels a multiple of 8. w is asked where it is not known.

        is_fixed: whether the same weights always have these signs; of drawn ones they are others each time.
        """
        grid, pad = _grid(geometry, x.shape, w_shape)
        key = (grid, w_shape[0], pad, pruned)
        convolution = self._made.get(key)
        if convolution is None:
            convolution = self._made[key] = training.SignConvolution(grid, w_shape[0], pad, pruned)
        if not is_fixed or key not in self._known:
            signs = w()
            filters = signs.view(*signs.shape, 1, 1) if signs.ndim == 2 else signs
            convolution.set(filters.permute(0, 2, 3, 1).contiguous().numpy())
            self._known.pop(key, None)
            self._keep(key, True, is_fixed)
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
