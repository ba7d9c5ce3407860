"""A real first convolution that does not see how bright or of which colour an even area is."""

import torch
from torch import nn


class CentredConv2d(nn.Conv2d):
    """A real convolution, in each of whose filters the weights of every input channel sum to 0; without bias or padding.

    An even area gives 0, whatever its colour: what comes through are edges and textures. The sign of a binary network takes one
    threshold for all images, which is seldom right for both dark and bright ones. The sums are made 0 again after each step, so
    that the layer computes what torch's computes, and is exported and loaded as such. (Padding would draw an edge around every
    image.)
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int) -> None:
        super().__init__(n_in, n_out, kernel_size, bias=False)
        self.constrain()

    @torch.no_grad()
    def constrain(self, lr: float = 0.0) -> None:
        """What follows an optimizer's step, as in BinaryLayer."""
        self.weight.sub_(self.weight.mean(dim=(2, 3), keepdim=True))
