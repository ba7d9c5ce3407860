"""The typed configuration of `protocol=mirror`."""

from dataclasses import dataclass

from omegaconf import MISSING

from bnn_train.config.checks import key
from bnn_train.config.protocol import ProtocolConfig
from bnn_train.errors import ConfigError

NOISES = ("logistic", "uniform", "triangular", "normal")


@dataclass
class MirrorConfig(ProtocolConfig):
    """Latent weights beside the mirror descent over probabilities whose steps they take."""

    noises: list[str] = key(MISSING, "distributions F of P(w = +1) = F(latent / scale)", NOISES)
    scale: float = key(MISSING, "of the noise, as weights.scale", "(0, inf)")
    kl: float = key(MISSING, "weight of the prior, as weights.kl; each noise is also measured without", "[0, inf)")
    lr: float = key(MISSING, "of the latent weights; a step over the probabilities is then lr / (2 scale)", "(0, inf)")
    steps: int = key(MISSING, "of each way", "[1, 100000]")
    clip_grad: float = key(MISSING, "norm to which the gradient is clipped, where it is", "(0, inf)")
    clip: float = key(MISSING, "size to which latent / scale is clipped, where it is", "(0, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noises or len(set(self.noises)) < len(self.noises):
            raise ConfigError("protocol.noises", self.noises, "needs at least one, each once")
