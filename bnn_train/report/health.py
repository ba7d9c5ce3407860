"""What is wrong with the binary layers of a run, in words with a remedy, and their figures in a table: from a row of health.jsonl.

Each threshold lies well beyond what was seen in runs that went well; of a healthy network nothing is said.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bnn_train.errors import ConfigError
from bnn_train.report import grid
from bnn_train.report.grid import Column

Row = dict[str, Any]  # one line of health.jsonl: {"epoch", "layers": {name: {figure: number}}}
Layers = Mapping[str, float]  # the ill ones, and the figure that says so

CERTAIN_EPOCH = 2  # before its end nothing is said during training: a first epoch moves much
FEW_STEPS = 10  # a run of fewer has not tried to flip anything
SATURATED = 0.5  # of the weights
SATURATED_PREPARED = 0.75  # where prepare gives all a common size: half of standardised ones may be outside [-1, 1], but come back
BLOCKED = 0.95  # of the inputs; behind many shortcuts 0.86 was seen in a network that learned
CONSTANT = 0.9999  # of the inputs' signs
VANISHED = 1e-8  # of the weights' norm; Adam divides by no less than as much
LEARNED = 0.95  # of the training images: then a gradient may well vanish
RESTLESS = 0.1  # of the weights, at the end of a run; 0.03 was seen at a constant learning rate

_ENDED = ("clipped", "hard_st", "approx_sign", "uniform", "triangular", "reste")  # the factor is 0 outside their windows
_ENDING = ("stompp",)  # weights whose gradient ends with their layer's window
_SHRINKING = ("ede",)  # whose window leaves most weights and inputs outside at the end, as it is meant to


def illnesses(row: Row, config: Any, train_accuracy: float, at_end: bool) -> dict[str, str]:
    """{illness: a line with layers, figure and remedy}, in the order of their weight; empty for a healthy network.

    config: the typed configuration. at_end: of the run; before it only what is certain is said.
    """
    found: dict[str, str] = {}
    layers = row["layers"]
    if not layers or not (at_end or row["epoch"] >= CERTAIN_EPOCH):
        return found
    weights_ste = config.ste.name if getattr(config.weights, "ste", None) is None else config.weights.ste
    tried = row["epoch"] > 1 or row.get("steps", FEW_STEPS) >= FEW_STEPS
    still = _ill(layers, "never_moved", lambda share: share == 1)
    if tried and len(still) == len(layers):
        found["nothing flips"] = f"nothing flips, no binary weight has changed its sign: {_wake(config)}"
    most = SATURATED if getattr(config.weights, "prepare", "none") in ("none", "centre") else SATURATED_PREPARED
    saturated = {} if weights_ste in _SHRINKING else _ill(layers, "weights_outside", lambda share: share > most)
    if saturated:
        gets = "no gradient" if weights_ste in _ENDED else "next to no gradient"
        left = f"of the {'latent' if most == SATURATED else 'prepared'} weights left the window of {weights_ste} and get {gets}"
        found["saturated weights"] = f"{_names(saturated)}: {_shares(saturated)} {left}: {_keep_in(config, weights_ste)}"
    constant = _ill(layers, "inputs_positive", lambda share: not 1 - CONSTANT < share < CONSTANT)
    if constant:
        signs = " or ".join(sorted({"+1" if share > 0.5 else "-1" for share in constant.values()}))
        always = f"the inputs are all {signs}, whatever the image, so that nothing passes"
        found["constant inputs"] = f"{_names(constant)}: {always}: {_revive(config)}"
    measured = config.ste.name not in _SHRINKING and not config.block.unit_variance  # then scaled in training
    blocked = _ill(layers, "inputs_outside", lambda share: share > BLOCKED) if measured else {}
    if blocked:
        outside = f"of the inputs are outside the window of {config.ste.name}, and next to no gradient passes back"
        found["blocked inputs"] = f"{_names(blocked)}: {_shares(blocked)} {outside}: {_widen(config)}, or a lower optimizer.lr"
    counts = config.weights.optimizer is None and config.weights.name not in _ENDING  # Bop does not look at a gradient's size
    if counts and train_accuracy < LEARNED:
        small = _ill(layers, "gradient", lambda size: size < VANISHED)
        gone = {name: size for name, size in small.items() if name not in saturated}
        if gone:
            size = f"{max(gone.values()):.0e} of that of the weights" if max(gone.values()) else "0"
            vanishes = f"the norm of the gradient is {size}, it vanishes on its way back"
            remedy = f"{_widen(config)}, or a shortcut around each layer (block=bireal)"
            found["vanished gradients"] = f"{_names(gone)}: {vanishes}: {remedy}"
    restless = _ill(layers, "back_and_forth", lambda share: share > RESTLESS)
    if restless and at_end:
        each = "of the weights flip back and forth every epoch"
        found["restless weights"] = f"{_names(restless)}: {_shares(restless)} {each}: {_calm(config)}"
    return found


def _ill(layers: Mapping[str, Row], figure: str, is_ill: Callable[[float], bool]) -> Layers:
    return {name: figures[figure] for name, figures in layers.items() if figure in figures and is_ill(figures[figure])}


def _names(layers: Layers) -> str:
    """At most three, and how many more."""
    names = list(layers)
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shares(layers: Layers) -> str:
    low, high = (f"{share:.0%}" for share in (min(layers.values()), max(layers.values())))
    return low if low == high else f"{low} to {high}"


def _wake(config: Any) -> str:
    optimizer = config.optimizer
    if optimizer.name == "bop":
        return f"optimizer.threshold={optimizer.threshold:g} is too high, or optimizer.gamma={optimizer.gamma:g} too small"
    if optimizer.name == "bayesbinn":
        return f"optimizer.natural_lr={optimizer.natural_lr:g} is too small; try 1e-4"
    usual = 0.1 if optimizer.name == "sgd" else 0.01
    return f"optimizer.lr={optimizer.lr:g} is too small; try {max(usual, 10 * optimizer.lr):g}"


def _keep_in(config: Any, name: str) -> str:
    if getattr(config.weights, "prepare", "none") != "none":
        return "weights.ste=identity, which has no window, or a lower optimizer.lr"
    keep_in = f"weights.clip={getattr(config.ste, 'clip', 1.0):g} keeps them in" if name in _ENDED else "a smaller weights.clip"
    return f"{keep_in}, or weights.ste=identity has no window"


def _widen(config: Any) -> str:
    key = next((key for key in ("clip", "scale") if hasattr(config.ste, key)), None)
    return "ste=identity, which has no window" if key is None else f"a window wider than ste.{key}={getattr(config.ste, key):g}"


def _revive(config: Any) -> str:
    if config.block.activation == "relu" and config.block.norm == "after":  # which is then the last before the next sign
        return "block.activation=relu leaves no input below 0, block.activation=none does"
    return "a lower optimizer.lr"


def _calm(config: Any) -> str:
    if config.optimizer.name == "bop":
        return f"an optimizer.threshold above {config.optimizer.threshold:g}, or a smaller optimizer.gamma"
    key = "natural_lr" if config.optimizer.name == "bayesbinn" else "lr"
    return f"an optimizer.{key} below {getattr(config.optimizer, key):g}, or a schedule that ends low, as scheduler=cosine does"


# Each figure of health.jsonl: header, format, and how soon the table does without it.
_COLUMNS = {
    "flipped": ("flipped", ".2%", 0),
    "back_and_forth": ("back and forth", ".2%", 0),
    "never_moved": ("never moved", ".1%", 0),
    "weights_outside": ("weights outside", ".1%", 0),
    "inputs_outside": ("inputs outside", ".1%", 0),
    "weights_positive": ("weights +1", ".1%", 2),
    "inputs_positive": ("inputs +1", ".1%", 1),
    "gradient": ("gradient / weight", ".1e", 0),
}


def table(row: Row) -> str:
    """A line for each binary layer."""
    layers = row["layers"]
    columns = [Column("layer", list(layers), right=False, dotted=True)]
    for figure, (header, form, spare) in _COLUMNS.items():
        if any(figure in figures for figures in layers.values()):
            cells = [f"{figures[figure]:{form}}" if figure in figures else "" for figures in layers.values()]
            columns.append(Column(header, cells, spare=spare))
    within = f", step {row['steps']}" if "steps" in row else ""
    return grid.table(columns, f"health of the binary layers in epoch {row['epoch']}{within}")


def show(run_dir: Path) -> str:
    """The table of a run's newest epoch.

    Raises ConfigError where the folder holds no health.jsonl, or nothing in it.
    """
    rows = rows_of(run_dir / "health.jsonl")
    if not rows:
        remedy = "holds no health.jsonl; --health takes the directory of a run with binary weights, after its first epoch"
        raise ConfigError("run", run_dir, remedy)
    return table(rows[-1])


def rows_of(file: Path) -> list[Row]:
    """Those that are whole; none where there is no file, and none that a crash has cut."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("epoch"), int) and isinstance(row.get("layers"), dict):
                rows.append(row)
    return rows
