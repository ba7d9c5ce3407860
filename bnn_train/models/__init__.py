"""Networks made of binary layers. A model is a function of its configuration and of the images' shape; REGISTRY names it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bnn_train import register
from bnn_train.binary import progressive, weights, windows
from bnn_train.binary.layers import BinaryLayer
from bnn_train.config.checks import check_choice
from bnn_train.config.model import BlockConfig
from bnn_train.config.root import Config
from bnn_train.config.weights import StomppConfig
from bnn_train.errors import ConfigError, PluginError
from bnn_train.models.around import Gated, Residual, Shift, UnitVariance, activation
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


def _plugged(plugged: register.Plugged) -> Callable[[Any, Parts, Shape, int], nn.Module]:
    """A plugin's model, which may do without the parts."""

    def made(config: Any, parts: Parts, image_shape: Shape, num_classes: int) -> nn.Module:
        found = plugged.call(*(parts, image_shape, num_classes)[-plugged.positional :], **plugged.given(config))
        if not isinstance(found, nn.Module):
            raise plugged.fault(f"gives {type(found).__name__}; a model is a torch.nn.Module")
        return found

    return made


register.into("model", REGISTRY, _plugged)


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
    )
    built = REGISTRY[config.model.name](config.model, parts, image_shape, num_classes)
    if isinstance(config.weights, StomppConfig):
        windows.spread(built, config.weights.end)
    layers = [layer for layer in built.modules() if isinstance(layer, BinaryLayer)]
    if config.model.name in register.FOUND["model"]:  # which may be what it likes, but for what goes in and out
        built = built.to(device)
        _try_out(register.FOUND["model"][config.model.name], built, image_shape, num_classes, device)
    elif layers and all(layer.estimator is None for layer in layers):
        remedy = (
            "the last layer's inputs are real, so no activation of this network is binary; give two or more, or binarize_output"
        )
        raise ConfigError("model.hidden", getattr(config.model, "hidden", None), remedy)
    elif config.block.shortcut == "per_conv" and not any(isinstance(module, Residual) for module in built.modules()):
        remedy = "needs a layer with binary inputs that is as wide as they are, and here is none; use block.shortcut=none"
        raise ConfigError("block.shortcut", config.block.shortcut, remedy)
    return built.to(device).to(memory_format=torch.contiguous_format if device.type == "mps" else torch.channels_last)


def check(config: Config, image_shape: Shape, num_classes: int) -> nn.Module:
    """The network without memory or numbers (on torch's meta device): what does not fit is refused before any image is decoded."""
    if config.model.name in register.FOUND["model"] or config.weights.name in register.FOUND["weights"]:
        return build(config, image_shape, num_classes)  # a plugin may ask tensors for their numbers
    with torch.device("meta"):
        return build(config, image_shape, num_classes, torch.device("meta"))


def remarks(config: Config, model: nn.Module) -> list[str]:
    """What should be known of a plugin's network, in the form of config/notes.py."""
    plugged = register.FOUND["model"].get(config.model.name)
    found = []
    if plugged is not None and not any(isinstance(layer, BinaryLayer) for layer in model.modules()):
        found.append("holds no binary layer: it is trained as it is")
    elif plugged is not None and plugged.positional == 2:
        found.append("makes its layers itself: ste, weights, block and trainer.precision do not change them")
    elif plugged is not None and (absent := _absent_of_block(config.block, model)):
        why = f"has none of block={config.block.name}'s {' or '.join(absent)}: parts.conv and parts.linear make layers alone"
        found.append(f"{why}, parts.around(name, layer, fits=True) one with its block")
    return [f"model={config.model.name}: {line}" for line in found]


def _absent_of_block(block: BlockConfig, model: nn.Module) -> list[str]:
    """What a block asks for and no module of the network is. The order of BatchNorm and sign cannot be told."""
    made = activation(block.activation, 1, images=True)
    made = made[1] if isinstance(made, nn.Sequential) else made  # rprelu: PReLU between two shifts
    asked = {
        "shortcuts": Residual if block.shortcut == "per_conv" else None,
        "shifts": Shift if block.shift else None,
        "gates": Gated if block.gate else None,
        "activations": None if made is None else type(made),
        "unit variance": UnitVariance if block.unit_variance else None,
    }
    there = {type(module) for module in model.modules()}
    return [name for name, kind in asked.items() if kind is not None and kind not in there]


@torch.no_grad()
def _try_out(plugged: register.Plugged, model: nn.Module, image_shape: Shape, num_classes: int, device: torch.device) -> None:
    """Raises PluginError where a plugin's network does not make class scores of images."""
    model.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            scores = model(torch.zeros(2, *image_shape, device=device))
    except Exception as error:
        what = register.behind(error) or f"{plugged.source}: {register.said(error)}"
        raise PluginError("model", plugged.name, f"{what}, for images of {image_shape}") from error
    finally:
        model.train()
    if not isinstance(scores, torch.Tensor) or scores.shape != (2, num_classes):
        given = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise plugged.fault(f"gives {given} for 2 images; {num_classes} classes need (2, {num_classes})")
