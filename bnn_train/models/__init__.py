"""Networks made of binary layers. A model is a function of its configuration and of the images' shape; REGISTRY names it."""

from collections.abc import Callable

import torch
from torch import nn

from bnn_train.binary import ste, weights
from bnn_train.binary.layers import choose_products
from bnn_train.checks import check_choice, check_takes, options
from bnn_train.config import Config
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts
from bnn_train.models.cnn import cnn
from bnn_train.models.mlp import mlp

CPU = torch.device("cpu")

REGISTRY: dict[str, Callable[..., nn.Sequential]] = {"mlp": mlp, "cnn": cnn}


def build(config: Config, image_shape: tuple[int, int, int], num_classes: int, device: torch.device = CPU) -> nn.Sequential:
    """The network of `config` for float images of shape (N, *image_shape), channels first; returns (N, num_classes) logits.

    Latent weights are drawn from torch's generator on the CPU. In memory the channels of a pixel lie together (channels_last), but
    not on MPS, where some versions of torch compute wrong gradients then. Raises ConfigError where the images do not fit.
    """
    check_choice("model.name", config.model.name, REGISTRY)
    parts = Parts(
        estimator=lambda: ste.build(config.ste.name, config.ste.stochastic, **options(config.ste, "stochastic")),
        binarizer=lambda: weights.build(config.weights, config.ste),
    )
    network, given = REGISTRY[config.model.name], options(config.model)
    check_takes("model", config.model.name, given, network)
    built = network(parts, image_shape, num_classes, **given)
    if all(getattr(layer, "estimator", None) is None for layer in built):
        remedy = (
            "the last layer's inputs are real, so no activation of this network is binary; give two or more, or binarize_output"
        )
        raise ConfigError("model.hidden", config.model.hidden, remedy)
    choose_products(built, device, config.trainer.precision == "fast")
    return built.to(device).to(memory_format=torch.contiguous_format if device.type == "mps" else torch.channels_last)
