"""The surrogate factor of every estimator in plain arithmetic."""

import math
from collections.abc import Callable


def reste_factor(x: float, o: float) -> float:
    if abs(x) > 1.5:
        return 0.0
    return 0.1 ** (1 / o) / 0.1 if abs(x) <= 0.1 else abs(x) ** ((1 - o) / o) / o


def swish_sign_factor(x: float, beta: float) -> float:
    y = min(beta * abs(x), 700)  # cosh overflows above; the factor is 0 there to the last bit
    return beta * (2 - y * math.tanh(y / 2)) / (1 + math.cosh(y))


def sigmoid(x: float) -> float:
    return math.exp(-abs(x) if x < 0 else 0) / (1 + math.exp(-abs(x)))


# (name, parameters, progress, the surrogate factor in plain arithmetic)
CLOSED_FORMS: list[tuple[str, dict, float, Callable[[float], float]]] = [
    ("identity", {}, 0, lambda x: 1),
    ("clamped_grad", {}, 0, lambda x: 1),
    ("clipped", {}, 0, lambda x: 1 if abs(x) <= 1 else 0),
    ("clipped", {"clip": 0.5}, 0, lambda x: 1 if abs(x) <= 0.5 else 0),
    ("tanh", {}, 0, lambda x: 1 - math.tanh(x) ** 2),
    ("approx_sign", {}, 0, lambda x: max(0, 2 - 2 * abs(x))),
    ("gaussian", {}, 0, lambda x: 2 * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ("swish_sign", {}, 0, lambda x: swish_sign_factor(x, 5)),
    ("swish_sign", {"beta": 2}, 0, lambda x: swish_sign_factor(x, 2)),
    ("ede", {}, 0.0, lambda x: 10 * 0.1 * (1 - math.tanh(0.1 * x) ** 2)),
    ("ede", {}, 0.5, lambda x: 1 - math.tanh(x) ** 2),
    ("ede", {}, 1.0, lambda x: 10 * (1 - math.tanh(10 * x) ** 2)),
    ("uniform", {}, 0, lambda x: 1 if abs(x) <= 1 else 0),
    ("uniform", {"scale": 0.5}, 0, lambda x: 2 if abs(x) <= 0.5 else 0),
    ("triangular", {"scale": 1.5}, 0, lambda x: 2 * max(0, 1 - abs(x / 1.5)) / 1.5),
    ("logistic", {}, 0, lambda x: 2 * sigmoid(x) * sigmoid(-x)),
    ("logistic", {"scale": 2}, 0, lambda x: sigmoid(x / 2) * sigmoid(-x / 2)),
    ("normal", {"scale": 0.5}, 0, lambda x: 4 * math.exp(-2 * x * x) / math.sqrt(2 * math.pi)),
    ("reinmax", {}, 0, lambda x: sigmoid(-abs(x))),  # without noise +1 is drawn where x >= 0
    ("reinmax", {"scale": 0.5}, 0, lambda x: 2 * sigmoid(-2 * abs(x))),
    ("gumbel", {}, 0, lambda x: (1 - math.tanh(x / 2) ** 2) / 2),
    ("gumbel", {"temperature": 0.1}, 0, lambda x: 5 * (1 - math.tanh(5 * x) ** 2)),
    ("hard_st", {}, 0, lambda x: 1 if abs(x) <= 1 else 0),
    ("reste", {}, 0.0, lambda x: reste_factor(x, 1)),
    ("reste", {}, 1.0, lambda x: reste_factor(x, 3)),
]


def normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def uniform(x: float) -> float:
    return min(max((x + 1) / 2, 0), 1)


def triangular(x: float) -> float:
    return max(0, 1 + x) ** 2 / 2 if x < 0 else 1 - max(0, 1 - x) ** 2 / 2


# (name, parameters, P(x = +1) of the stochastic forward half-way through training)
PROBABILITIES: list[tuple[str, dict, Callable[[float], float]]] = [
    *((name, {}, uniform) for name in ("identity", "clamped_grad", "clipped", "reste", "uniform")),
    ("clipped", {"clip": 0.5}, lambda a: uniform(a / 0.5)),
    ("uniform", {"scale": 2}, lambda a: uniform(a / 2)),
    ("tanh", {}, lambda a: sigmoid(2 * a)),
    ("ede", {}, lambda a: sigmoid(2 * a)),  # t is 1 half-way
    ("approx_sign", {}, triangular),
    ("triangular", {}, triangular),
    ("triangular", {"scale": 0.5}, lambda a: triangular(a / 0.5)),
    ("gaussian", {}, normal),
    ("normal", {"scale": 2}, lambda a: normal(a / 2)),
    ("swish_sign", {}, lambda a: sigmoid(5 * a)),
    ("swish_sign", {"beta": 2}, lambda a: sigmoid(2 * a)),
    *((name, {}, sigmoid) for name in ("logistic", "reinmax", "gumbel", "hard_st")),
    *((name, {"scale": 0.5}, lambda a: sigmoid(2 * a)) for name in ("logistic", "reinmax", "gumbel")),
    ("hard_st", {"clip": 0.5}, sigmoid),
]
