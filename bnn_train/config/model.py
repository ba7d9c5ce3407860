"""The networks and the blocks that they are built of."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError

_PAD_VALUE = "what surrounds a binary convolution's input; with 0 it is ternary at its border"


@dataclass
class ModelConfig(Group):
    group: ClassVar[str] = "model"
    has_shortcuts: ClassVar[bool] = False  # whether it is built of blocks with a shortcut alone

    name: str = MISSING


@dataclass
class MlpConfig(ModelConfig):
    name: str = "mlp"
    hidden: list[int] = key([512, 512, 512], "outputs of each hidden linear layer", "[1, inf)", "units")
    dropout: float = key(0.0, "probability of zeroing, after the last hidden linear layer", "[0, 1)")
    binarize_input: bool = key(False, "the estimator also binarizes the network's input")
    binarize_output: bool = key(False, "the last layer has binary weights and inputs, followed by BatchNorm")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "mlp" and not self.hidden:
            raise ConfigError("model.hidden", self.hidden, "the mlp needs hidden layers, for example [512,512]")


@dataclass
class CnnConfig(MlpConfig):
    name: str = "cnn"
    hidden: list[int] = key([256], "outputs of each hidden linear layer after the convolutions; [] for none", "[1, inf)", "units")
    stages: list[list[int]] = key(
        [[32, 32], [64, 64], [128, 128]],
        "output channels of the convolutions of each stage, which a 2x2 max-pool ends",
        "[1, inf)",
        "channels",
    )
    kernel_size: int = key(3, "of the convolutions; odd, so that images keep their size", "[1, inf)", "pixels")
    pad_value: int = key(0, _PAD_VALUE, (0, 1, -1))
    stem: str = key(
        "binary",
        "weights of the first convolution: binary, real, or centred (real, sums of 0 in each channel of a filter, not padded)",
        ("binary", "real", "centred"),
    )
    head: str = key("flatten", "what the linear layers see: every place, or each channel's average", ("flatten", "average"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages:
            raise ConfigError("model.stages", self.stages, "the cnn needs at least one stage, for example [[32,32],[64,64]]")
        if not all(self.stages):
            raise ConfigError("model.stages", self.stages, "every stage needs at least one convolution")
        if self.kernel_size % 2 == 0:
            raise ConfigError("model.kernel_size", self.kernel_size, "must be odd, so that images keep their size")
        if self.stem == "centred" and self.kernel_size == 1:
            raise ConfigError("model.stem", self.stem, "a single weight whose sum is 0 is 0; use model.kernel_size=3")
        if self.stem != "binary" and self.binarize_input:
            raise ConfigError("model.stem", self.stem, "has real inputs; with model.binarize_input=true it must be binary")


@dataclass
class LenetConfig(ModelConfig):
    name: str = "lenet"


@dataclass
class VggConfig(ModelConfig):
    """Of vgg_small and binarynet."""

    name: str = "vgg_small"
    pad_value: int = key(0, _PAD_VALUE, (0, 1, -1))


@dataclass
class ResNetConfig(ModelConfig):
    """Of resnet18 and resnet20."""

    has_shortcuts: ClassVar[bool] = True

    name: str = "resnet20"
    downsample: str = key(
        "conv", "the shortcut where a stage begins: pool and a real 1x1 convolution, or pool alone", ("conv", "pool")
    )
    pad_value: int = key(0, _PAD_VALUE, (0, 1, -1))


@dataclass
class BlockConfig(Group):
    """What stands around each binary layer, whatever the model."""

    group: ClassVar[str] = "block"

    name: str = key("plain", "", ("plain", "bireal", "resnet", "xnor", "reactnet", "recu", "real_to_binary"))
    norm: str = key("after", "BatchNorm follows the layer, or stands before its sign", ("after", "before"))
    shift: bool = key(False, "add a learned number to each channel before its sign (RSign)")
    activation: str = key("none", "what follows a layer, and its shortcut's sum", ("none", "relu", "hardtanh", "prelu", "rprelu"))
    shortcut: str = key(
        "none", "add the input to the output of each binary layer, or of every two", ("none", "per_conv", "per_block")
    )
    gate: bool = key(False, "multiply each channel of a convolution by a number that its real input decides")
    unit_variance: bool = key(False, "in training divide each image's activations by their deviation before the sign")


MODELS: dict[str, type[ModelConfig]] = {
    "mlp": MlpConfig,
    "cnn": CnnConfig,
    "lenet": LenetConfig,
    "vgg_small": VggConfig,
    "binarynet": VggConfig,
    "resnet18": ResNetConfig,
    "resnet20": ResNetConfig,
}
