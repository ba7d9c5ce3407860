"""Weight binarizers: from a layer's latent weight to what the layer multiplies with.

A binarizer is a module without state. `bits` is what one weight takes in memory once training is over.
"""

from collections.abc import Callable

from torch import Tensor, nn

from bnn_train.binary import ste
from bnn_train.config import SteConfig, WeightsConfig, check_choice, options


class Binarizer(nn.Module):
    """What a binary layer asks of its weight binarizer, besides being called with the latent weight."""

    bits: int


class Sign(Binarizer):
    """The sign of the latent weight, with an estimator's backward (BinaryConnect, Courbariaux et al. 2015, arXiv 1511.00363)."""

    bits = 1

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, latent: Tensor) -> Tensor:
        return self.estimator(latent)


class Real(Binarizer):
    """The latent weight itself."""

    bits = 32

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()

    def forward(self, latent: Tensor) -> Tensor:
        return latent


BINARIZERS: dict[str, Callable[[nn.Module], Binarizer]] = {"sign": Sign, "real": Real}


def build(config: WeightsConfig, activations: SteConfig) -> Binarizer:
    """The binarizer of `config`, with the activations' estimator (deterministic) unless `weights.ste` names another.

    Where activations are real (`ste=none`) the estimator is the identity, as in BinaryConnect.
    """
    check_choice("weights.name", config.name, BINARIZERS)
    if config.ste is not None:
        check_choice("weights.ste", config.ste, ste.ESTIMATORS)
        estimator = ste.build(config.ste)
    elif activations.name == "none":
        estimator = ste.build("identity")
    else:
        estimator = ste.build(activations.name, stochastic=False, **options(activations, "stochastic"))
    return BINARIZERS[config.name](estimator)
