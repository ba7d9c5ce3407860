"""The networks and the blocks that they are built of."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


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
    pad_value: int = key(0, "what surrounds a binary convolution's input; with 0 it is ternary at its border", (0, 1, -1))
    head: str = key("flatten", "what the linear layers see: every place, or each channel's average", ("flatten", "average"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages:
            raise ConfigError("model.stages", self.stages, "the cnn needs at least one stage, for example [[32,32],[64,64]]")
        if not all(self.stages):
            raise ConfigError("model.stages", self.stages, "every stage needs at least one convolution")
        if self.kernel_size % 2 == 0:
            raise ConfigError("model.kernel_size", self.kernel_size, "must be odd, so that images keep their size")


@dataclass
class ResNetConfig(ModelConfig):
    has_shortcuts: ClassVar[bool] = True

    name: str = "resnet20"
    downsample: str = key(
        "conv", "the shortcut where a stage begins: pool and a real 1x1 convolution, or pool alone", ("conv", "pool")
    )
    pad_value: int = key(0, "what surrounds a binary convolution's input; with 0 it is ternary at its border", (0, 1, -1))


@dataclass
class BlockConfig(Group):
    group: ClassVar[str] = "block"

    name: str = key("plain", "", ("plain", "bireal"))
    shortcut: bool = key(False, "add each binary layer's input to its normalised output, as in Bi-Real Net")


MODELS: dict[str, type[ModelConfig]] = {"mlp": MlpConfig, "cnn": CnnConfig, "resnet20": ResNetConfig}
