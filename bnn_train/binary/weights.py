"""Weight binarizers: from a layer's latent weight to what the layer multiplies with.

A binarizer puts three steps together: `prepared` = prepare(latent, mask), differentiable; its sign with an estimator, which
sees the prepared weight alone; and scale(prepared, mask), one factor for each output, by which the whole-number product is
multiplied. The first and the last are functions of binary/preparation.py, chosen by name. It is a module without parameters.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train import register
from bnn_train.binary import noise as distributions
from bnn_train.binary import preparation
from bnn_train.binary import ste as estimators
from bnn_train.binary.preparation import Mask
from bnn_train.binary.progressive import Progressive
from bnn_train.binary.ste import Binarization, Ste
from bnn_train.config.checks import check_choice
from bnn_train.config.ste import SteConfig
from bnn_train.config.weights import PREPARE, SCALING, WeightsConfig


class Binarizer(nn.Module):
    """What a binary layer asks of its weight binarizer. Others ask attributes, never which binarizer it is."""

    bits = 1  # what one weight takes in memory once training is over
    stochastic = False  # whether weights are drawn in training
    sized = True  # whether the size of a latent weight says how far it is from flipping: it can be ranked, and start a scale
    no_penalty = ""  # why the sizes of the latent weights cannot be penalised, if so
    kl = 0.0  # weight of the divergence from fair coins, of weights that are drawn
    whole = False  # whether the latent weight is -1 or +1 itself
    centre = False  # whether each step moves the latent weights of an output by their means
    annealed = False  # whether it follows the progress of training

    def __init__(self, clip: float | None = None, prepare: str = "none", scaling: str = "none", tau: float = 0.9) -> None:
        super().__init__()
        check_choice("weights.prepare", prepare, PREPARE)
        check_choice("weights.scaling", scaling, SCALING)
        self.clip, self.prepare, self.scaling, self.tau = clip, prepare, scaling, tau

    @property
    def bound(self) -> float:
        """Latent weights are clipped to [-bound, bound] after each step."""
        return math.inf if self.clip is None else self.clip

    @property
    def only_clips(self) -> bool:
        """Whether `constrain` keeps latent weights to their bound and does nothing else, so that an optimizer's pass can do it."""
        as_written = type(self).constrain in (Binarizer.constrain, Sign.constrain, Stochastic.constrain)
        return as_written and self.kl == 0 and not self.centre

    @property
    def tau_now(self) -> float:
        return self.tau

    def prepared(self, latent: Tensor, mask: Mask = None) -> Tensor:
        if self.prepare == "none":
            return latent
        function = preparation.PREPARE[self.prepare]
        return function(latent, mask, tau=self.tau_now) if self.prepare == "quantile" else function(latent, mask)

    def binarization(self, prepared: Tensor) -> Binarization | None:
        """How the prepared weight is binarized now, with what is drawn for it; None where it stays real."""
        return Binarization(estimators.identity)

    def scale(self, prepared: Tensor, mask: Mask = None) -> Tensor | None:
        """The factor of each output, (outputs,); None where there is none, or where it is learned and so the layer's."""
        return None if self.scaling in ("none", "learned") else preparation.SCALING[self.scaling](prepared, mask)

    def forward(self, latent: Tensor, mask: Mask = None) -> Tensor:
        """What the layer multiplies with, before the scale."""
        prepared = self.prepared(latent, mask)
        how = self.binarization(prepared)
        return prepared if how is None else estimators.binarize(prepared, how)

    def start(self, latent: Tensor) -> None:
        """Changes a latent weight, in place, that is fresh or comes from another kind of weights."""

    @torch.no_grad()
    def constrain(self, latent: Tensor, lr: float, mask: Mask = None) -> None:
        """What follows an optimizer's step, in place: the latent weight is centred and keeps to its bound."""
        if self.centre:
            preparation.centre_over_inputs(latent, mask)
        if self.bound < math.inf:
            latent.clamp_(-self.bound, self.bound)

    def is_clipped(self, latent: Tensor) -> None:
        """Tells that the latent weight keeps to its bound, as it is now."""

    def extra_repr(self) -> str:
        given = {"prepare": self.prepare, "scaling": self.scaling}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value != "none")


class Sign(Binarizer):
    """The sign of the prepared weight (BinaryConnect, Courbariaux et al. 2015, arXiv 1511.00363), with an estimator's backward.

    centre: the latent weight itself is centred over its input channels, at the start and after each step (XNOR-Net). tau_end: tau
    rises to it with the training `progress`, the share that is done, in [0, 1], which the trainer sets (ReCU).
    """

    def __init__(
        self,
        estimator: Ste | None = None,
        clip: float | None = 1.0,
        prepare: str = "none",
        scaling: str = "none",
        tau: float = 0.9,
        centre: bool = False,
        tau_end: float | None = None,
    ) -> None:
        super().__init__(clip, prepare, scaling, tau)
        self.centre, self.tau_end = centre, tau_end
        self.annealed, self.progress = tau_end is not None, 0.0
        self.estimator = Ste("clipped") if estimator is None else estimator
        self._bounded: tuple[int, int] | None = None  # which tensor was clipped last, and its version then

    @property
    def tau_now(self) -> float:
        return self.tau if self.tau_end is None else preparation.tau_at(self.progress, self.tau, self.tau_end)

    @property
    def setting(self) -> str:
        """By which the configuration has it follow the progress of training."""
        return f"weights.tau_end={self.tau_end:g}"

    def start(self, latent: Tensor) -> None:
        if self.centre:
            super().constrain(latent, lr=0.0)  # `_bounded` stays: a layer gives its weight's data, a tensor that nobody keeps

    def constrain(self, latent: Tensor, lr: float, mask: Mask = None) -> None:
        super().constrain(latent, lr, mask)
        self.is_clipped(latent)

    def is_clipped(self, latent: Tensor) -> None:
        self._bounded = None if latent.is_inference() else (id(latent), latent._version)

    def binarization(self, prepared: Tensor) -> Binarization:
        if self.estimator.name == "clipped" and self._is_within(prepared, self.estimator.params.get("clip", 1.0)):
            if torch.is_grad_enabled():
                self._bounded = None  # a step may follow: torch's fused optimizers leave the version of what they write to
            return Binarization(estimators.identity)  # every latent weight is within the window: a pass less over the gradient
        return self.estimator.binarization(prepared)

    def _is_within(self, latent: Tensor, window: float) -> bool:
        """Whether no weight is beyond the window, because nothing has written to the latent weight since it was clipped.

        A prepared weight is another tensor, of which a bound for the latent one says nothing.
        """
        if self._bounded is None or torch.compiler.is_compiling() or self.bound > window:
            return False
        return self._bounded == (id(latent), latent._version)


class Own(Sign):
    """The sign of what a plugin's function prepares."""

    def __init__(self, name: str, keys: dict[str, Any], estimator: Ste, clip: float | None, scaling: str) -> None:
        super().__init__(estimator, clip, scaling=scaling)
        self.prepare, self.keys = name, keys

    def prepared(self, latent: Tensor, mask: Mask = None) -> Tensor:
        plugged = register.FOUND["weights"][self.prepare]
        found: Tensor = plugged.function(latent, mask, **self.keys)
        if found.shape != latent.shape:
            raise plugged.fault(f"gives a weight of shape {tuple(found.shape)} for a latent one of {tuple(latent.shape)}")
        return found


class Real(Binarizer):
    """The latent weight itself."""

    bits = 32

    def binarization(self, prepared: Tensor) -> None:
        return None


class Stompp(Binarizer):
    """The latent weight within [-1, 1], which turns into its sign in the layer's window of training: see progressive.py."""

    def __init__(self, estimator: str | None = None, refresh: float = 0.1, clip: float | None = 1.0) -> None:
        super().__init__(clip)
        self.progressive = Progressive(estimator, refresh, per_unit=False)

    def binarization(self, prepared: Tensor) -> Binarization:
        return self.progressive.binarization(prepared)


class Binary(Binarizer):
    """A parameter that is -1 or +1 itself, for an optimizer that flips it (Bop): there is no latent weight."""

    sized = False
    whole = True
    no_penalty = "its weights are -1 or +1 themselves, without a latent size to shrink,"

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        latent.copy_(estimators.sign(latent))


class Stochastic(Binarizer):
    """Bernoulli weights: P(w = +1) = F(eta / scale), eta the latent weight, drawn anew for each batch; evaluation takes sign(eta).

    The backward is the identity: exact on average where the loss is multilinear in the weights, each of which occurs to the first
    power, and biased elsewhere. A step of gradient descent on eta is then one of mirror descent over the probabilities
    (Shekhovtsov & Yanush 2021, arXiv 2006.06880): with logistic F the proximal term is the Kullback-Leibler divergence; with
    uniform F it is the Euclidean distance, and eta clipped to F's support is BinaryConnect.
    Noise is drawn in training, and in evaluation while `sampling` is set.
    """

    stochastic = True

    def __init__(
        self, noise: str = "logistic", scale: float = 1.0, kl: float = 0.0, clip: float | None = None, scaling: str = "none"
    ) -> None:
        super().__init__(clip, scaling=scaling)
        check_choice("weights.noise", noise, distributions.FAMILY)
        self.noise, self.noise_scale, self.kl = noise, scale, kl
        self.sampling = False

    @property
    def bound(self) -> float:
        return min(super().bound, distributions.FAMILY[self.noise].support * self.noise_scale)

    # Let psi be the function with psi' = F^-1, and D(p, q) = psi(p) - psi(q) - psi'(q) (p - q) its Bregman divergence: that of
    # Kullback and Leibler where F is logistic, (p - q)^2 where it is uniform. What is minimised over all p is
    #     E[loss] + kl * (sum over weights of D(p, 1/2)).
    # With the mean gradient g of the drawn weight, whose mean is 2 p - 1, dE[loss]/dp = 2 g. A proximal step of size tau,
    #     argmin over p of  2 g p + kl D(p, 1/2) + D(p, p_0) / tau,
    # is where 2 g + kl F^-1(p) + (F^-1(p) - F^-1(p_0)) / tau = 0, since F^-1(1/2) = 0; with F^-1(p) = eta / scale,
    #     eta = (eta_0 - 2 scale tau g) / (1 + tau kl).
    # An optimizer's step of size lr is the numerator with tau = lr / (2 scale), so the prior must take the same tau. Where p is
    # bounded, D rises to both sides of its minimum, which is the nearest point to it: eta is clipped after it has shrunk.
    @torch.no_grad()
    def constrain(self, latent: Tensor, lr: float, mask: Mask = None) -> None:
        """The prior's part of the step of size `lr` that the optimizer has taken, and the bound."""
        if self.kl > 0:
            latent.div_(1 + lr / (2 * self.noise_scale) * self.kl)
        super().constrain(latent, lr, mask)

    def binarization(self, prepared: Tensor) -> Binarization:
        if not (self.training or self.sampling):
            return Binarization(estimators.identity)
        return Binarization(estimators.identity, distributions.FAMILY[self.noise].sample(prepared) * self.noise_scale)


class BayesBinn(Stochastic):
    """The weights of BayesBiNN (arXiv 2002.10778): eta is the natural parameter lambda, E[w] = tanh(lambda)."""

    sized = False
    no_penalty = "a step would multiply the penalty by up to 1e10"

    def __init__(self, init: float = 10.0, clip: float | None = None, scaling: str = "none") -> None:
        super().__init__("logistic", 0.5, clip=clip, scaling=scaling)
        self.init = init

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        latent.copy_(estimators.sign(latent) * self.init)


def sign(activations: SteConfig, *, ste: str | None, **options: float | str | None) -> Sign:
    """With the estimator `ste`, by default the activations' one without noise, and the identity where these are real."""
    return Sign(_estimator(activations, ste), **options)  # type: ignore[arg-type]


def _estimator(activations: SteConfig, ste: str | None) -> Ste:
    if ste is not None:
        check_choice("weights.ste", ste, estimators.ESTIMATORS)
        estimator = Ste(ste)
        estimator.key = "weights.ste"
        return estimator
    if activations.name == "none":
        return Ste("identity")
    return Ste(activations.name, False, **{key: value for key, value in activations.params.items() if key != "hard"})


def stompp(activations: SteConfig, *, ste: str | None, refresh: float, end: float, clip: float | None) -> Stompp:
    """`end` is the network's, whose layers get their windows together (windows.py)."""
    return Stompp(ste, refresh, clip)


def _alone(kind: type[Binarizer], activations: SteConfig, **options: float | str | None) -> Binarizer:
    """A binarizer that does not ask for the activations' estimator."""
    return kind(**options)  # type: ignore[arg-type]


# From the activations' estimator and the option's keys, as keywords, to a binarizer.
BINARIZERS: dict[str, Callable[..., Binarizer]] = {
    "sign": sign,
    "stompp": stompp,
    "stochastic": functools.partial(_alone, Stochastic),
    "bayesbinn": functools.partial(_alone, BayesBinn),
    "binary": functools.partial(_alone, Binary),
    "real": functools.partial(_alone, Real),
}


def _plugged(
    plugged: register.Plugged,
    activations: SteConfig,
    *,
    clip: float | None,
    ste: str | None = None,
    scaling: str = "none",
    **keys: Any,
) -> Binarizer:
    """The binarizer of a plugin: its own class, or the sign of what its function prepares."""
    own = {name: value for name, value in {"clip": clip, "ste": ste, "scaling": scaling, **keys}.items() if name in plugged.keys}
    if not isinstance(plugged.function, type):
        return Own(plugged.name, own, _estimator(activations, ste), clip, scaling)
    made = plugged.call(**own)
    if not isinstance(made, Binarizer):
        raise plugged.fault("is no subclass of bnn_train.binary.weights.Binarizer")
    made.clip = clip
    return made


register.into("weights", BINARIZERS, lambda plugged: functools.partial(_plugged, plugged))


def build(config: WeightsConfig, activations: SteConfig) -> Binarizer:
    """The binarizer of `config`. Raises ConfigError for a name that is unknown."""
    check_choice("weights.name", config.name, BINARIZERS)
    return BINARIZERS[config.name](activations, **{name: value for name, value in vars(config).items() if name != "name"})
