"""What is wrong with the binary layers of a run, in words with a remedy, and their figures in a table: from a row of health.jsonl.

Each threshold lies well beyond what was seen in runs that went well; of a healthy network nothing is said.
"""

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bnn_train.errors import ConfigError
from bnn_train.report import grid, jobs
from bnn_train.report.grid import Column

Row = dict[str, Any]  # one line of health.jsonl: {"epoch", "layers": {name: {figure: number}}}
Layers = Mapping[str, float]  # the ill ones, and the figure that says so

CERTAIN_EPOCH = 2  # before its end nothing is said during training: a first epoch moves much
FEW_STEPS = 10  # a run of fewer has not tried to flip anything
STILL = 0.999  # of the weights; 0.9977 was seen after the first epoch of SGD, which had learned three quarters of the images
ABSURD_LOSS = 100  # times that of guessing
SATURATED = 0.5  # of the weights
SATURATED_PREPARED = 0.75  # where prepare gives all a common size: half of standardised ones may be outside [-1, 1], but come back
BLOCKED = 0.95  # of the inputs; behind many shortcuts 0.86 was seen in a network that learned
CONSTANT = 0.9999  # of the inputs' signs
VANISHED = 1e-8  # of the weights' norm; Adam divides by no less than as much
LEARNED = 0.95  # of the training images: then a gradient may well vanish
RESTLESS = 0.1  # of the weights, at the end of a run; 0.03 was seen at a constant learning rate
FAR = 10  # windows: weights as large were thrown there by single steps
NEAR_CHANCE = 0.1  # of the way from guessing to every training image right

_ENDED = ("clipped", "hard_st", "approx_sign", "uniform", "triangular", "reste")  # the factor is 0 outside their windows
_ENDING = ("stompp",)  # weights whose gradient ends with their layer's window
_SHRINKING = ("ede",)  # whose window leaves most weights and inputs outside at the end, as it is meant to
_LOWER = "a lower optimizer.lr"


def illnesses(row: Row, trained: Mapping[str, Any], config: Any, classes: int, at_end: bool) -> dict[str, str]:
    """{illness: a line with layers, figure and remedy}, in the order of their weight; empty for a healthy network.

    row: of health.jsonl. trained: that of metrics.jsonl of the same epoch. config: the typed configuration. classes: their number.
    at_end: of the run; before it only what is certain is said.
    """
    found: dict[str, str] = {}
    layers, loss, accuracy = row["layers"], trained["train_loss"], trained["train_accuracy"]
    if not layers or not (at_end or row["epoch"] >= CERTAIN_EPOCH):
        return found
    guessing = math.log(classes)
    is_plain = config.loss.name == "cross_entropy" and config.distill.name == "none"  # another's scale is its own
    if is_plain and loss > ABSURD_LOSS * guessing:
        found["absurd loss"] = f"the loss is {loss:.0e}, where guessing has {guessing:.1f}: {_LOWER}"
    weights_ste = config.ste.name if getattr(config.weights, "ste", None) is None else config.weights.ste
    tried = row["epoch"] > 1 or row.get("steps", FEW_STEPS) >= FEW_STEPS
    still = _ill(layers, "never_moved", lambda share: share > STILL)
    if tried and len(still) == len(layers):
        if min(still.values()) == 1:
            found["nothing flips"] = f"nothing flips, no binary weight has changed its sign: {_wake(config)}"
        elif accuracy < LEARNED:  # a trained network that is trained on moves little
            few = f"in each layer fewer than {1 - STILL:.1%} of the binary weights have ever changed their sign"
            found["nothing flips"] = f"next to nothing flips, {few}: {_wake(config)}"
    most = SATURATED if getattr(config.weights, "prepare", "none") in ("none", "centre") else SATURATED_PREPARED
    saturated = {} if weights_ste in _SHRINKING else _ill(layers, "weights_outside", lambda share: share > most)
    if saturated:
        gets = "no gradient" if weights_ste in _ENDED else "next to no gradient"
        left = f"of the {'latent' if most == SATURATED else 'prepared'} weights left the window of {weights_ste} and get {gets}"
        if at_end and not any(layers[name]["flipped"] for name in saturated):
            left += ", and in the last epoch none flipped"
        size = max(layers[name].get("weights_size", 0) for name in saturated)
        found["saturated weights"] = f"{_names(saturated)}: {_shares(saturated)} {left}: {_keep_in(config, weights_ste, size)}"
    constant = _ill(layers, "inputs_positive", lambda share: not 1 - CONSTANT < share < CONSTANT)
    if constant:
        signs = " or ".join(sorted({"+1" if share > 0.5 else "-1" for share in constant.values()}))
        always = f"the inputs are all {signs}, whatever the image, so that nothing passes"
        found["constant inputs"] = f"{_names(constant)}: {always}: {_revive(config)}"
    counts = config.weights.optimizer is None and config.weights.name not in _ENDING  # Bop does not look at a gradient's size
    small = _ill(layers, "gradient", lambda size: size < VANISHED) if counts and accuracy < LEARNED else {}
    measured = config.ste.name not in _SHRINKING and not config.block.unit_variance  # then scaled in training
    blocked = _ill(layers, "inputs_outside", lambda share: share > BLOCKED) if measured else {}
    # The first epochs of a network that goes well may have such inputs; not where it learns nothing.
    if blocked and (at_end or small or accuracy < 1 / classes + NEAR_CHANCE * (1 - 1 / classes)):
        outside = f"of the inputs are outside the window of {config.ste.name}, and next to no gradient passes back"
        found["blocked inputs"] = f"{_names(blocked)}: {_shares(blocked)} {outside}: {_widen(config)}, or {_LOWER}"
    gone = {name: size for name, size in small.items() if name not in saturated}
    if gone:
        norm = f"{max(gone.values()):.0e} of that of the weights" if max(gone.values()) else "0"
        vanishes = f"the norm of the gradient is {norm}, it vanishes on its way back"
        remedy = f"{_widen(config)}, a shortcut around each layer (block=bireal), or {_LOWER}"
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


def _keep_in(config: Any, name: str, size: float) -> str:
    """size: of the latent weights, in windows."""
    if getattr(config.weights, "prepare", "none") != "none":
        return f"weights.ste=identity, which has no window, or {_LOWER}"
    keep_in = f"weights.clip={getattr(config.ste, 'clip', 1.0):g} keeps them in" if name in _ENDED else "a smaller weights.clip"
    first = f"{_LOWER} (they are {size:,.0f} windows large), or " if size > FAR else ""
    return f"{first}{keep_in}, or weights.ste=identity has no window"


def _widen(config: Any) -> str:
    key = next((key for key in ("clip", "scale") if hasattr(config.ste, key)), None)
    return "ste=identity, which has no window" if key is None else f"a window wider than ste.{key}={getattr(config.ste, key):g}"


def _revive(config: Any) -> str:
    if config.block.activation == "relu" and config.block.norm == "after":  # which is then the last before the next sign
        return "block.activation=relu leaves no input below 0, block.activation=none does"
    return _LOWER


def _calm(config: Any) -> str:
    if config.optimizer.name == "bop":
        return f"an optimizer.threshold above {config.optimizer.threshold:g}, or a smaller optimizer.gamma"
    key = "natural_lr" if config.optimizer.name == "bayesbinn" else "lr"
    return f"an optimizer.{key} below {getattr(config.optimizer, key):g}, or a schedule that ends low, as scheduler=cosine does"


# Each figure of health.jsonl: header, format, and how soon the table does without it.
COLUMNS = {
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
    within = f", step {row['steps']}" if "steps" in row else ""
    return grid.table(columns(row), f"health of the binary layers in epoch {row['epoch']}{within}")


def columns(row: Row) -> list[Column]:
    """The layers and their figures, of which there are any."""
    layers = row["layers"]
    columns = [Column("layer", list(layers), right=False, dotted=True)]
    for figure, (header, form, spare) in COLUMNS.items():
        if any(figure in figures for figures in layers.values()):
            cells = [f"{figures[figure]:{form}}" if figure in figures else "" for figures in layers.values()]
            columns.append(Column(header, cells, spare=spare))
    return columns


def show(run_dir: Path) -> str:
    """The table of a run's newest epoch.

    Raises ConfigError where there is no such folder, or no health.jsonl in it, or nothing in that.
    """
    rows = rows_of(run_dir / "health.jsonl")
    if not rows:
        raise ConfigError("run", run_dir, _instead(run_dir))
    return table(rows[-1])


def _instead(path: Path) -> str:
    """Why a path has no health to show, and what to give."""
    takes = "--health takes the directory of a run"
    try:
        if not path.is_dir():
            return f"is a file; {takes}, as in {path.absolute().parent}" if path.exists() else f"does not exist; {takes}"
        run = next((folder for folder in sorted(path.iterdir()) if jobs.is_job(folder)), None)
    except OSError as error:
        return f"cannot be read ({error.strerror}); {takes}"
    if run is not None and not jobs.is_job(path):
        return f"is the directory of a sweep; {takes}, as in {run}"
    return f"holds no health.jsonl; {takes} with binary weights, after its first epoch"


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
