"""Networks made of binary layers. A model is a function of its configuration and of the images' shape; REGISTRY names it."""

from collections.abc import Callable

from torch import nn

from bnn_train.binary import ste, weights
from bnn_train.binary.ste import Ste
from bnn_train.checks import check_choice, check_takes, options
from bnn_train.config import Config
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts
from bnn_train.models.cnn import cnn
from bnn_train.models.mlp import mlp

REGISTRY: dict[str, Callable[..., nn.Sequential]] = {"mlp": mlp, "cnn": cnn}


def build(config: Config, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """The network of `config` for float images of shape (N, *image_shape), channels first; returns (N, num_classes) logits.

    Latent weights are drawn from torch's generator. Raises ConfigError where the images do not fit the network.
    """
    check_choice("model.name", config.model.name, REGISTRY)
    parts = Parts(
        sign=lambda: ste.build(config.ste.name, config.ste.stochastic, **options(config.ste, "stochastic")),
        binarizer=lambda: weights.build(config.weights, config.ste),
    )
    network, given = REGISTRY[config.model.name], options(config.model)
    check_takes("model", config.model.name, given, network)
    built = network(parts, image_shape, num_classes, **given)
    if not any(isinstance(layer, Ste | nn.ReLU) for layer in built):
        remedy = (
            "the last layer's inputs are real, so no activation of this network is binary; give two or more, or binarize_output"
        )
        raise ConfigError("model.hidden", config.model.hidden, remedy)
    return built
