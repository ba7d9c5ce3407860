"""What stands around a binary layer: shortcuts, shifts, activations, gates. Parameters are vectors, a number a channel."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layers = OrderedDict[str, nn.Module]


class Residual(nn.Sequential):
    """layers(x) + shortcut(x): a real path past binary layers (Bi-Real Net, Liu et al. 2018, arXiv 1808.00278: past each one)."""

    def __init__(self, layers: Layers, shortcut: nn.Module | None = None) -> None:
        super().__init__(layers)
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name, layer in self.named_children():
            if name != "shortcut":
                y = layer(y)
        return y + self.shortcut(x)


class Widen(nn.Module):
    """The mean of each size x size square of pixels, and its channels over again until there are `n_out`: no parameters."""

    def __init__(self, size: int, n_in: int, n_out: int, ceil: bool = False) -> None:
        super().__init__()
        self.size, self.n_in, self.n_out, self.ceil = size, n_in, n_out, ceil

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.size == 1 else F.avg_pool2d(x, self.size, ceil_mode=self.ceil, count_include_pad=False)
        return torch.cat([x] * -(-self.n_out // self.n_in), dim=1)[:, : self.n_out]

    def extra_repr(self) -> str:
        return f"size={self.size}, n_in={self.n_in}, n_out={self.n_out}"


class Shift(nn.Module):
    """x + b, b a learned number for each channel, 0 at the start. Before a sign it is the threshold -b: RSign.

    (ReActNet, Liu et al. 2020, arXiv 2003.03488.) x: (N, channels), or with `images` (N, channels, H, W).
    """

    def __init__(self, channels: int, images: bool) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.images = images

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.shift.view(-1, 1, 1) if self.images else self.shift)

    def extra_repr(self) -> str:
        return str(len(self.shift))


class UnitVariance(nn.Module):
    """In training each sample over its deviation, x / sqrt(var(x) + 1e-5); in evaluation x itself.

    For what stands before a sign, which does not change: only the estimator's window sees other sizes (ReCU, Xu et al. 2021, arXiv
    2103.12369, as in its code). x: (N, ...), var over all but N.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x / (x.var(dim=list(range(1, x.ndim)), keepdim=True) + 1e-5).sqrt()


class Gated(nn.Sequential):
    """layers(x) times gate(x), a number in (0, 1) for each image and channel.

    (Real-to-Binary, Martinez et al. 2020, arXiv 2003.11535.) gate: the means of x's channels through two real linear layers, the
    first an eighth as wide, with ReLU between and a sigmoid behind. x: (N, n_in, H, W); layers(x): (N, n_out, H', W').
    """

    def __init__(self, layers: Layers, n_in: int, n_out: int) -> None:
        super().__init__(layers)
        narrow = max(1, n_in // 8)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, narrow), nn.ReLU(), nn.Linear(narrow, n_out), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name, layer in self.named_children():
            if name != "gate":
                y = layer(y)
        return y * self.gate(x)[:, :, None, None]


def activation(kind: str, channels: int, images: bool) -> nn.Module | None:
    """What follows a layer, by its name in config/model.py; None for none."""
    if kind == "rprelu":  # f(x - g) + z, f a PReLU, all learned (ReActNet)
        return nn.Sequential(OrderedDict(before=Shift(channels, images), prelu=nn.PReLU(channels), after=Shift(channels, images)))
    if kind == "prelu":
        return nn.PReLU(channels)
    return {"none": None, "relu": nn.ReLU(), "hardtanh": nn.Hardtanh()}[kind]
