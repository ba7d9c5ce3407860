"""The typed configuration of `bnn-lab`."""

from dataclasses import dataclass

from omegaconf import MISSING

from bnn_train.config.checks import key
from bnn_train.config.lab_mirror import MirrorConfig
from bnn_train.config.lab_shortcomings import OVER, ShortcomingConfig
from bnn_train.config.lab_training import LabTrainingConfig
from bnn_train.config.lab_weights import WeightsProtocolConfig
from bnn_train.config.protocol import ProtocolConfig, SignsConfig
from bnn_train.errors import ConfigError

# By the name of the option, the dataclass of its keys.
PROTOCOLS: dict[str, type[ProtocolConfig]] = {
    "psa": SignsConfig,
    "single_layer": SignsConfig,
    "weights": WeightsProtocolConfig,
    "mirror": MirrorConfig,
    **{f"shortcoming_{experiment}": ShortcomingConfig for experiment in OVER},
    "training": LabTrainingConfig,
}


@dataclass
class LabConfig:
    protocol: ProtocolConfig = MISSING
    plugins: list[str] = key([], "modules or .py files, imported first, that add estimators")
    seed: int = key(0, "of everything random")

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError("seed", self.seed, "must be a whole number of at least 0, below 2^63")
