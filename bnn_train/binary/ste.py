"""Straight-through estimators: sign forward, a surrogate gradient backward.

Each estimator below is a pure function of the incoming gradient g = dL/dx and the input a of the sign; it returns dL/da, which is g
times the surrogate factor of its name. `build` makes a module of it. The forward is the same for all: +1 where a >= 0 (so for 0 and
-0.0), else -1; with `stochastic=True` and in training mode it is sign(a - Z), Z drawn from the noise whose doubled density the
factor is (noise.py), and the backward is unchanged. A backward that depends on what was drawn takes it as `z`, which is 0 without
noise; one that is annealed takes the training `progress`.

CONTRIBUTING.md says how one is added.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bnn_train import ranks, register
from bnn_train.binary import noise, passes
from bnn_train.binary.noise import Noise
from bnn_train.config.checks import check_choice
from bnn_train.config.ste import NoneConfig, SteConfig
from bnn_train.errors import ConfigError


def sign(x: Tensor) -> Tensor:
    """-1 or +1 in the dtype of x; sign(0) = sign(-0.0) = +1. (torch.sign(0) is 0, which would make the network ternary.)

    Two signs take a ninth of the time of torch.where(x >= 0, 1.0, -1.0) on a CPU.
    """
    return torch.sign(x).add_(0.5).sign_()


CHUNK = passes.LARGE  # elements that fit into a processor's cache, several copies at a time


def sign_int8(x: Tensor) -> Tensor:
    """The same as int8. By torch: under "or 1" -1 and 1 keep their value, and 0 becomes 1.

    A few rows at a time, so that what is between float and byte stays in the cache; torch.compile makes one loop of it all.
    """
    if torch.compiler.is_compiling():
        return torch.where(x >= 0, 1.0, -1.0).to(torch.int8)
    if passes.is_large(x):
        return passes.sign(x)
    signs = torch.empty_like(x, dtype=torch.int8)
    rows = max(1, CHUNK * len(x) // max(1, x.numel()))
    for some, into in zip(x.split(rows), signs.split(rows), strict=True):
        into.copy_(torch.sign(some))
    return signs.bitwise_or_(1)


def identity(g: Tensor, a: Tensor) -> Tensor:
    """Factor 1 (Hinton 2012, lecture 9c; Bengio et al. 2013, arXiv 1308.3432)."""
    return g


def clamped_grad(g: Tensor, a: Tensor) -> Tensor:
    """Factor 1, the incoming gradient itself clamped to [-1, 1], element by element."""
    return g.clamp(-1, 1)


def clipped(g: Tensor, a: Tensor, *, clip: float = 1.0) -> Tensor:
    """Factor 1 where |a| <= clip (inclusive), else 0: the derivative of hardtanh (Hubara et al. 2016, arXiv 1602.02830)."""
    # torch's own derivative of hardtanh leaves the boundary out, so it gets the next larger number as its boundary. On a CPU it
    # takes a fifth of the time of g * (|a| <= clip).
    if torch.compiler.is_compiling():
        return torch.where(a.abs() <= clip, g, 0.0)  # one loop with its neighbours
    if passes.is_large(a, g):
        return passes.within(g, a, clip)
    end = _next_after(clip, a.dtype)
    return torch.ops.aten.hardtanh_backward(g, a, -end, end)


@functools.cache
def _next_after(x: float, dtype: torch.dtype) -> float:
    """The smallest number above x that `dtype` holds (for half precision: that the float32 of its arithmetic holds)."""
    arithmetic = dtype if dtype == torch.float64 else torch.float32
    return torch.nextafter(torch.tensor(x, dtype=arithmetic), torch.tensor(math.inf, dtype=arithmetic)).item()


def tanh(g: Tensor, a: Tensor) -> Tensor:
    """Factor 1 - tanh(a)^2, the derivative of tanh (Shekhovtsov & Yanush 2021, arXiv 2006.06880: logistic noise of scale 1/2)."""
    return g * (1 - torch.tanh(a).square())


def approx_sign(g: Tensor, a: Tensor) -> Tensor:
    """Factor max(0, 2 - 2 |a|), the derivative of a piecewise quadratic (Bi-Real Net, Liu et al. 2018, arXiv 1808.00278)."""
    return g * (2 - 2 * a.abs()).clamp(min=0)


def gaussian(g: Tensor, a: Tensor) -> Tensor:
    """Factor 2 exp(-a^2 / 2) / sqrt(2 pi), the derivative of erf(a / sqrt 2) (arXiv 2006.06880: normal noise)."""
    return g * (2 * noise.normal.pdf(a))


def swish_sign(g: Tensor, a: Tensor, *, beta: float = 5.0) -> Tensor:
    """Factor beta (2 - beta a tanh(beta a / 2)) / (1 + cosh(beta a)) (BNN+, Darabi et al. 2018, arXiv 1812.11800).

    Negative from about |a| = 2.4 / beta on. 1 / (1 + cosh y) is computed as 2 s(y) s(-y), s the sigmoid, so that no y overflows.
    """
    y = beta * a
    return g * (beta * (2 - y * torch.tanh(y / 2)) * 2 * torch.sigmoid(y) * torch.sigmoid(-y))


def _ede_t(progress: float) -> float:
    """The steepness of EDE: from 0.1 at the start of training to 10 at its end, geometrically."""
    return 10 ** (2 * progress - 1)


def ede(g: Tensor, a: Tensor, *, progress: float) -> Tensor:
    """Factor k t (1 - tanh(t a)^2), t from 0.1 to 10, k = max(1/t, 1) (IR-Net, Qin et al. 2020, arXiv 1909.10788)."""
    t = _ede_t(progress)
    return g * (max(1 / t, 1) * t * (1 - torch.tanh(t * a).square()))


def reste(g: Tensor, a: Tensor, *, progress: float) -> Tensor:
    """The derivative of sign(a) |a|^(1/o), o from 1 to 3 (ReSTE, Wu et al. 2023, arXiv 2308.06689).

    |a|^((1-o)/o) / o where 0.1 < |a| <= 1.5; below 0.1, where it would be unbounded, the slope of the secant from 0; 0 above 1.5.
    """
    o = 1 + 2 * progress
    size = a.abs()
    power = size.clamp(min=0.1) ** ((1 - o) / o)  # at |a| = 0.1 and below this is the secant's slope 0.1^(1/o) / 0.1
    return g * torch.where(size > 0.1, power / o, power) * (size <= 1.5)


def noise_st(g: Tensor, a: Tensor, *, distribution: Noise, scale: float = 1.0) -> Tensor:
    """Factor 2 F'(a), F the distribution function of scale * Z: the estimator that follows from the noise (arXiv 2006.06880).

    Exactly unbiased for one stochastic layer where the loss is linear in each unit.
    """
    return g * (2 * noise.scaled(distribution, scale).pdf(a))


def reinmax(g: Tensor, a: Tensor, *, z: Tensor | float, scale: float = 1.0) -> Tensor:
    """Factor F'(a) / P(x) for the drawn x, F logistic: sigma(-x a) at scale 1 (ReinMax, Liu et al. 2023, arXiv 2304.08612).

    In this binary case it is the mean of noise_st's gradient and of DARN's, (x - E[x]) g times the derivative of log P(x)
    (Shekhovtsov 2023, ICML). Unbiased where the loss is quadratic in each unit.
    """
    return g * (torch.sigmoid(-sign(a - z) * a / scale) / scale)


def _gumbel_relaxed(a: Tensor, temperature: float, scale: float) -> Tensor:
    return torch.tanh(a / (2 * temperature * scale))


def gumbel(g: Tensor, a: Tensor, *, z: Tensor | float, temperature: float = 1.0, scale: float = 1.0, hard: bool = True) -> Tensor:
    """The derivative of tanh((a - Z) / (2 temperature)), Z logistic (Jang et al. 2017, arXiv 1611.01144; arXiv 1611.00712).

    With `hard` the forward is sign(a - Z), else the tanh itself, a real number. a and Z count in units of `scale`.
    """
    return g * ((1 - _gumbel_relaxed(a - z, temperature, scale).square()) / (2 * temperature * scale))


def _gumbel_forward(a: Tensor, *, temperature: float = 1.0, scale: float = 1.0, hard: bool = True) -> Tensor:
    return sign(a) if hard else _gumbel_relaxed(a, temperature, scale)


# Where a factor that is nowhere 0 has fallen to a hundredth of its largest value.
_END_OF_TANH = math.atanh(math.sqrt(0.99))  # of 1 - tanh(a)^2
_END_OF_LOGISTIC = 2 * _END_OF_TANH  # of the density, (1 - tanh(a / 2)^2) / 4
_END_OF_NORMAL = math.sqrt(2 * math.log(100))
_END_OF_SIGMOID = math.log(199)  # of sigma(-a) for a >= 0


@functools.cache
def _end_of_swish() -> float:
    """The same for beta = 1, where the factor, 1 at 0, has turned negative and falls to 0 from below: by bisection."""
    low, high = 4.0, 20.0  # 0.13 and 1e-7
    for _ in range(60):
        y = (low + high) / 2
        low, high = (y, high) if (y * math.tanh(y / 2) - 2) / (1 + math.cosh(y)) > 0.01 else (low, y)
    return high


_ENDS = {"uniform": 1.0, "triangular": 1.0, "logistic": _END_OF_LOGISTIC, "normal": _END_OF_NORMAL}


def _scaled_window(end: float, scale: float = 1.0) -> float:
    return end * scale


class Estimator(NamedTuple):
    """A backward function, the noise that it belongs to, and, as functions of the same parameters, the noise's scale, what
    training computes in place of the sign (of a, from which the noise is already subtracted), and the window: |a| beyond it gets
    no gradient, or less than a hundredth of the largest factor where that is nowhere 0 (without noise); inf where all a get it."""

    backward: Callable[..., Tensor]
    noise: Noise
    noise_scale: Callable[..., float] = lambda **params: 1.0
    forward: Callable[..., Tensor] = sign
    window: Callable[..., float] = lambda **params: math.inf


# identity and clamped_grad fit uniform noise while |a| <= 1. swish_sign and reste fit no symmetric noise exactly; they get the
# logistic noise of their own sigmoid and uniform noise.
ESTIMATORS = {
    "identity": Estimator(identity, noise.uniform),
    "clamped_grad": Estimator(clamped_grad, noise.uniform),
    "clipped": Estimator(clipped, noise.uniform, lambda clip=1.0: clip, window=lambda clip=1.0: clip),
    "tanh": Estimator(tanh, noise.logistic, lambda: 0.5, window=lambda: _END_OF_TANH),
    "approx_sign": Estimator(approx_sign, noise.triangular, window=lambda: 1.0),
    "gaussian": Estimator(gaussian, noise.normal, window=lambda: _END_OF_NORMAL),
    "swish_sign": Estimator(swish_sign, noise.logistic, lambda beta=5.0: 1 / beta, window=lambda beta=5.0: _end_of_swish() / beta),
    "ede": Estimator(
        ede, noise.logistic, lambda progress: 1 / (2 * _ede_t(progress)), window=lambda progress: _END_OF_TANH / _ede_t(progress)
    ),
    "reste": Estimator(reste, noise.uniform, window=lambda progress: 1.5),
    **{
        name: Estimator(
            functools.partial(noise_st, distribution=distribution),
            distribution,
            lambda scale=1.0: scale,
            window=functools.partial(_scaled_window, _ENDS[name]),
        )
        for name, distribution in noise.FAMILY.items()
    },
    "reinmax": Estimator(
        reinmax, noise.logistic, lambda scale=1.0: scale, window=functools.partial(_scaled_window, _END_OF_SIGMOID)
    ),
    "gumbel": Estimator(
        gumbel,
        noise.logistic,
        lambda scale=1.0, **params: scale,
        _gumbel_forward,
        lambda temperature=1.0, scale=1.0, **params: 2 * temperature * scale * _END_OF_TANH,
    ),
    # The control: logistic noise with uniform noise's backward (as in the code of arXiv 2006.03143).
    "hard_st": Estimator(clipped, noise.logistic, lambda clip=1.0: 1.0, window=lambda clip=1.0: clip),
}


def _plugged(plugged: register.Plugged) -> Estimator:
    """A plugin's, whose noise is as wide as its key `scale` says, and whose window is looked for."""
    takes_z = {"z": 0.0} if "z" in inspect.signature(plugged.function).parameters else {}

    def window(**params: float) -> float:
        sizes = torch.logspace(-3, 3, 1201)
        a = torch.cat([-sizes, sizes])
        factors = plugged.function(torch.ones_like(a), a, **params, **takes_z).abs().view(2, -1).amax(dim=0)
        passes = (factors > factors.max() / 100).nonzero()
        last = int(passes[-1]) if len(passes) else 0
        return math.inf if last == len(sizes) - 1 else sizes[last].item()

    family = noise.FAMILY[plugged.noise]
    return Estimator(plugged.function, family, lambda **params: params.get("scale", 1.0), window=window)


register.into("ste", ESTIMATORS, _plugged)


class Binarization(NamedTuple):
    """How one tensor a is binarized: forward(a - z), or forward(a) where nothing is drawn, and the gradient backward(g, a)."""

    backward: Callable[[Tensor, Tensor], Tensor]
    z: Tensor | None = None
    forward: Callable[[Tensor], Tensor] = sign
    binary: bool = True  # whether the forward gives -1 and +1 alone

    def drawn(self, a: Tensor) -> Tensor:
        """What the forward is applied to."""
        return a if self.z is None else a - self.z

    def backward_into(self, g: Tensor, a: Tensor) -> Tensor:
        """backward(g, a), in g's own memory where it can be: a pass that writes where it has read takes a quarter less."""
        found = self.backward
        if isinstance(found, functools.partial) and found.func is clipped and passes.is_large(a, g):
            return passes.within(g, a, found.keywords.get("clip", 1.0), out=g)
        return found(g, a)


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, how: Binarization) -> Tensor:
        ctx.save_for_backward(a)
        ctx.how = how
        return how.forward(how.drawn(a))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return ctx.how.backward(grads[0], a), None


def binarize(a: Tensor, how: Binarization) -> Tensor:
    """The forward of `how` in the dtype of a, with its gradient."""
    return _Binarize.apply(a, how)


class Ste(nn.Module):
    """Binarizes a real tensor of any shape to {-1, +1} in its own dtype; backward by an entry of ESTIMATORS. Has no state.

    `progress`, the share of training that is done, in [0, 1], is set by the trainer and used by annealed estimators (ede, reste).
    Noise is drawn in training, and in evaluation while `sampling` is set. The laboratory uses the same object, and draws itself.
    """

    binary = True  # what leaves it in evaluation is -1 or +1
    key = "ste"  # of the configuration, which names it

    def __init__(self, name: str = "clipped", stochastic: bool = False, **params: float) -> None:
        super().__init__()
        check_choice("ste.name", name, ESTIMATORS)
        self.name, self.stochastic, self.params = name, stochastic, params
        takes = inspect.signature(self.estimator.backward).parameters
        own = [key for key, p in takes.items() if p.kind is p.KEYWORD_ONLY and key not in ("progress", "z", "distribution")]
        for key in params:
            if key not in own:
                raise ConfigError(f"ste.{key}", params[key], f"{name} takes {', '.join(own) or 'no parameters'}")
        self.annealed, self.needs_noise = "progress" in takes, "z" in takes
        self.soft = self.estimator.forward is not sign and not params.get("hard", True)  # real values while it trains
        self.progress = 0.0
        self.sampling = False
        if name in register.FOUND["ste"]:
            _try_out(register.FOUND["ste"][name], self)

    @property
    def estimator(self) -> Estimator:
        return ESTIMATORS[self.name]  # looked up, not kept: its functions cannot be pickled

    def bound(self) -> dict[str, Any]:
        """The parameters of the estimator's functions now, but for what is drawn."""
        return {**self.params, "progress": self.progress} if self.annealed else self.params

    @property
    def setting(self) -> str:
        """By which the configuration chose it."""
        return f"{self.key}={self.name}"

    def noise_scale(self) -> float:
        """By which `estimator.noise` is multiplied."""
        return self.estimator.noise_scale(**self.bound())

    def window(self) -> float:
        """The |a| beyond which no gradient passes, or next to none, now."""
        return self.estimator.window(**self.bound())

    def backward(self, z: Tensor | float = 0.0) -> "functools.partial[Tensor]":
        """The surrogate gradient as a function of (g, a), given what was drawn."""
        drawn = {"z": z} if self.needs_noise else {}
        return functools.partial(self.estimator.backward, **self.bound(), **drawn)

    def forward_of_training(self) -> Callable[[Tensor], Tensor]:
        """What training computes of a - z: the sign itself, unless the estimator is soft."""
        return functools.partial(self.estimator.forward, **self.bound()) if self.soft else sign

    def binarization(self, a: Tensor) -> Binarization:
        """How `a` is binarized now, with what is drawn for it."""
        z = None
        if self.stochastic and (self.training or self.sampling):
            z = ranks.sampled(self.estimator.noise.sample, a) * self.noise_scale()
        backward = self.backward(0.0 if z is None else z)
        if self.training and self.soft:
            return Binarization(backward, z, self.forward_of_training(), binary=False)
        return Binarization(backward, z)

    def forward(self, a: Tensor) -> Tensor:
        return binarize(a, self.binarization(a))

    def extra_repr(self) -> str:
        return ", ".join([self.name, *(f"{k}={v:g}" for k, v in self.params.items()), *(["stochastic"] if self.stochastic else [])])


def _try_out(plugged: register.Plugged, estimator: Ste) -> None:
    """Raises PluginError where a plugin's estimator gives no gradient of its input's shape."""
    g = torch.ones(2, 3, device="cpu")
    found = plugged.call(g, torch.linspace(-2, 2, 6, device="cpu").view(2, 3), **estimator.backward().keywords)
    if not isinstance(found, Tensor) or found.shape != g.shape or found.dtype != g.dtype:
        given = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise plugged.fault(f"gives {given} for a gradient of float32 (2, 3); it must be of the same shape and type")


def build(config: SteConfig) -> nn.Module:
    """The module of an estimator; `none` is a ReLU or tanh, which leaves activations real.

    Raises ConfigError for a name that is not in ESTIMATORS.
    """
    check_choice("ste.name", config.name, ["none", *ESTIMATORS])
    if config.name == "none":
        return nn.Tanh() if isinstance(config, NoneConfig) and config.activation == "tanh" else nn.ReLU()
    return Ste(config.name, config.stochastic, **config.params)
