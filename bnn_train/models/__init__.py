"""Networks made of binary layers. A model is a function of its configuration and of the images' shape; REGISTRY names it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bnn_train.binary import progressive, weights, windows
from bnn_train.binary.layers import BinaryLayer
from bnn_train.config.checks import check_choice
from bnn_train.config.root import Config
from bnn_train.config.weights import StomppConfig
from bnn_train.errors import ConfigError
from bnn_train.models.around import Residual
from bnn_train.models.blocks import Parts
from bnn_train.models.cnn import cnn
from bnn_train.models.lenet import lenet
from bnn_train.models.mlp import mlp
from bnn_train.models.resnet import resnet18, resnet20
from bnn_train.models.vgg import binarynet, vgg_small

CPU = torch.device("cpu")
Shape = tuple[int, int, int]  # of an image: channels, height, width

REGISTRY: dict[str, Callable[[Any, Parts, Shape, int], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lenet": lenet,
    "vgg_small": vgg_small,
    "binarynet": binarynet,
    "resnet18": resnet18,
    "resnet20": resnet20,
}


def build(config: Config, image_shape: Shape, num_classes: int, device: torch.device = CPU) -> nn.Module:
    """The network of `config` for float images of shape (N, *image_shape), channels first; returns (N, num_classes) logits.

    Latent weights are drawn from torch's generator on the CPU. In memory the channels of a pixel lie together (channels_last), but
    not on MPS, where some versions of torch compute wrong gradients then. Raises ConfigError where the images do not fit.
    """
    check_choice("model.name", config.model.name, REGISTRY)
    parts = Parts(
        estimator=lambda: progressive.activations(config.ste, config.weights),
        binarizer=lambda: weights.build(config.weights, config.ste),
        block=config.block,
        fast=config.trainer.precision == "fast",
    )
    built = REGISTRY[config.model.name](config.model, parts, image_shape, num_classes)
    if isinstance(config.weights, StomppConfig):
        windows.spread(built, config.weights.end)
    layers = [layer for layer in built.modules() if isinstance(layer, BinaryLayer)]
    if layers and all(layer.estimator is None for layer in layers):
        remedy = (
            "the last layer's inputs are real, so no activation of this network is binary; give two or more, or binarize_output"
        )
        raise ConfigError("model.hidden", getattr(config.model, "hidden", None), remedy)
    if config.block.shortcut == "per_conv" and not any(isinstance(module, Residual) for module in built.modules()):
        remedy = "needs a layer with binary inputs that is as wide as they are, and here is none; use block.shortcut=none"
        raise ConfigError("block.shortcut", config.block.shortcut, remedy)
    return built.to(device).to(memory_format=torch.contiguous_format if device.type == "mps" else torch.channels_last)


def check(config: Config, image_shape: Shape, num_classes: int) -> nn.Module:
    """The network without memory or numbers (on torch's meta device): what does not fit is refused before any image is decoded."""
    with torch.device("meta"):
        return build(config, image_shape, num_classes, torch.device("meta"))
