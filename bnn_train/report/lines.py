"""The lines that a run prints, from plain data, no longer than the width there is."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bnn_train.report import grid, terminal
from bnn_train.report.tables import duration, moment

Row = dict[str, Any]  # one line of metrics.jsonl
Pieces = dict[str, str]  # of a line of figures, by what each is

_USUAL = {"block": "plain", "loss": "cross_entropy", "distill": "none", "stages": "none"}  # options that go without saying
_NAMED = ("ste", "weights", "optimizer", "scheduler")  # groups whose options the first line always names


def first_line(config: Any, chosen: Mapping[str, str] | None = None) -> str:
    """What a command is about to do, said before anything that takes time.

    chosen: option by group (config/root.py's `choices`), as in weights=irnet; without it the kinds are named, as in weights=sign.
    """
    if config.resume is not None:
        return f"continuing {config.resume}"
    kinds = {group: getattr(config, group).name for group in ("model", *_USUAL, *_NAMED)}
    told = {**kinds, **(chosen or {})}
    whole = [f"{group}={told[group]}:" for group in ("method", "experiment") if group in told]
    options = [f"{group}={told[group]}," for group in (*_USUAL, *_NAMED) if told[group] != _USUAL.get(group)]
    return grid.fold([*whole, f"{told['model']} on {config.data.name},", *options, f"seed={config.seed}"])


def bits(config: Any) -> str:
    """W1A1, W1A32 or W32A32: how many bits a weight and an activation of the layers have that can be binary."""
    return f"W{32 if config.weights.name == 'real' else 1}A{32 if config.ste.name == 'none' else 1}"


def from_earlier(config: Any) -> dict[str, str]:
    """{"init_from": "stage1", "teacher": "stage2"}: what a stage, or a run, starts with and learns from, where there is any."""
    found = {"init_from": config.init_from, "teacher": getattr(config.distill, "teacher", None)}
    return {name: value for name, value in found.items() if value is not None}


def stage_line(number: int, count: int, config: Any, chosen: Mapping[str, str]) -> str:
    """What a stage is about to train."""
    given = from_earlier(config)
    options = [f"{group}={chosen.get(group, getattr(config, group).name)}" for group in ("ste", "weights")]
    smooth = getattr(config.ste, "activation", "relu")
    options[0] += f" ({smooth})" if config.ste.name == "none" and smooth != "relu" else ""
    teacher = [f"teacher {given['teacher']},"] if "teacher" in given else []
    weights = f"from the weights of {given['init_from']}" if "init_from" in given else "from new weights"
    epochs = f"{config.trainer.epochs} epochs" if config.trainer.epochs > 1 else "1 epoch"
    return grid.fold(
        [f"stage {number} of {count}:", f"{bits(config)},", *(f"{option}," for option in options), *teacher, f"{epochs},", weights]
    )


def stage_ended_line(number: int, count: int, summary: Mapping[str, Any]) -> str:
    """What it gave."""
    figures = f"test accuracy {summary['test_accuracy']:.2%} after {moment(summary['epoch'], summary['step'])},"
    return grid.fold([f"stage {number} of {count} has ended:", figures, duration(summary["seconds"])])


def stages_finished_line(run_dir: object) -> str:
    """For a run in stages of which nothing is left to do."""
    return grid.fold([f"{run_dir} is finished,", "all its stages are"])


def data_line(name: str, sizes: tuple[int, int, int], image_shape: tuple[int, ...], classes: int) -> str:
    """sizes: training, held-out and test images."""
    train, val, test = sizes
    held_out = [f"{val:,} held out,"] if val else []
    shape = "x".join(str(size) for size in image_shape)
    counts = [f"{name}: {train:,} training images,", *held_out, f"{test:,} test images,"]
    return grid.fold([*counts, f"{shape},", f"{classes:,} classes"])


def classes_line(classes: Sequence[str], counts: Sequence[int]) -> str:
    """The names of the classes and how many training images each has."""
    most = 20
    each = [f"{grid.plain(name)} ({count:,})," for name, count in zip(classes[:most], counts, strict=False)]
    if len(classes) > most:
        return grid.fold(["training images by class:", *each, f"and {len(classes) - most:,} more classes"])
    return grid.fold(["training images by class:", *each[:-1], each[-1][:-1]])


RECENT = 5  # epochs whose times say how long the rest takes: what was beside earlier ones, a pause even, is over


def epoch_line(row: Row, times: Sequence[tuple[int, float]], epochs: int, images_per_epoch: int, end: float | None = None) -> str:
    """One line per epoch: the record on the terminal and in train.log. times: (images, seconds) of this process's epochs.

    end: the epochs after which the run ends, where it ends by steps before its last epoch.
    All lines of a run align: what they show depends on the width and on the run, and every figure has a fixed width.
    """
    images, seconds = (sum(column) for column in zip(*times[-RECENT:], strict=True))
    left = max(0, (epochs if end is None else min(end, epochs)) - row["epoch"]) * images_per_epoch * seconds / max(images, 1)
    pieces = {"epoch": _epoch(row["epoch"], epochs), "loss": f"loss {_loss(row['train_loss'])}"}
    for name in ("train", "val", "val_ensemble", "test", "test_ensemble", "ema_val", "ema_test"):
        if f"{name}_accuracy" in row:
            pieces[name] = f"{name.replace('_', ' ')} {_accuracy(row[f'{name}_accuracy'])}"
    pieces["lr"] = f"lr {row['lr']:<7.2g}"
    pieces["speed"] = f"{_speed(*times[-1])} img/s"
    pieces["left"] = f"left {_left(left):7}"
    averaged = "ema_test" if "ema_val" in pieces else "ema_val"  # the held-out images decide, so their figure stays
    shortenings = (_without("speed"), _without("lr"), _ensembles_joined, _without("left"), _without("train"), _without(averaged))
    for shorter in (*shortenings, _without_total):
        if _length(pieces) > terminal.width():
            pieces = shorter(pieces)
    if _length(pieces) > terminal.width():
        return grid.fold(list(pieces.values()))
    return "  ".join(pieces.values()).rstrip()


def bar_figures(epoch: int, epochs: int, seen: tuple[float, float] | None, room: int) -> str:
    """What stands before the bar of an epoch, in `room` columns where it can; seen: loss and accuracy so far, blank before them."""
    pieces = {"epoch": _epoch(epoch, epochs), "loss": " " * 11, "train": " " * 12}
    if seen is not None:
        pieces |= {"loss": f"loss {_loss(seen[0])}", "train": f"train {_accuracy(seen[1])}"}
    for shorter in (_without("train"), _without_total):
        if _length(pieces) > room:
            pieces = shorter(pieces)
    return "  ".join(pieces.values())


def _epoch(epoch: int, epochs: int) -> str:
    return f"epoch {epoch:{len(str(epochs))}}/{epochs}"


def _loss(loss: float) -> str:
    """Six columns up to a million: four decimals, fewer for a large one."""
    decimals = next((4 - i for i in range(4) if loss < 9.99995 * 10**i), 0)
    return f"{loss:6.{decimals}f}" if loss < 999_999 else f"{loss:6.0e}"


def _accuracy(share: float) -> str:
    """Six columns, also where every image is right."""
    text = f"{share:6.2%}"
    return "100.0%" if text == "100.00%" else text


def _speed(images: int, seconds: float) -> str:
    """Seven columns: images per second."""
    speed = images / seconds if seconds else 0.0
    return f"{speed:7,.0f}" if speed < 999_999.5 else f"{speed / 1e6:5.4g} M"


def _left(seconds: float) -> str:
    """Seven columns: a duration, in hours and minutes from ten hours on, in days from a hundred."""
    if seconds < 36_000 - 0.5:
        return duration(seconds)
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes < 6_000 else f"{seconds / 86_400:.1f} d"


def _length(pieces: Pieces) -> int:
    return sum(map(len, pieces.values())) + 2 * (len(pieces) - 1)


def _without(name: str) -> Callable[[Pieces], Pieces]:
    return lambda pieces: {key: piece for key, piece in pieces.items() if key != name}


def _ensembles_joined(pieces: Pieces) -> Pieces:
    """Accuracies without noise and of the ensemble in one, as in test 97.12/97.30%."""
    joined = dict(pieces)
    for split in ("val", "test"):
        ensemble = joined.pop(f"{split}_ensemble", None)
        if ensemble is not None:
            joined[split] = f"{joined[split].rstrip('%')}/{ensemble[-6:]}"
    return joined


def _without_total(pieces: Pieces) -> Pieces:
    return {**pieces, "epoch": pieces["epoch"].partition("/")[0]}


def finished_line(run_dir: object, ended: str = "") -> str:
    """For a run of which nothing is left to do. ended: what ended it before its last epoch."""
    if ended:
        return grid.fold([f"{run_dir} is finished, it ended {ended};", "a larger one, or null, would extend it"])
    return grid.fold([f"{run_dir} is finished;", "trainer.epochs=N with a larger N would extend it"])


def patience_line(epoch: int, patience: int) -> str:
    """Why a run has ended after this epoch."""
    epochs = f"{patience} epochs" if patience > 1 else "1 epoch"
    return f"after epoch {epoch}: no higher accuracy on the held-out images for {epochs}, trainer.patience={patience}"


def plan_line(number: int, steps: int, epochs: int, max_steps: int | None) -> str:
    """What a dry run would have done. number: finished steps; steps: in an epoch."""
    total = epochs * steps if max_steps is None else min(epochs * steps, max_steps)
    if number >= total:
        return "dry run: the run is finished, nothing would be done"
    start = [f"continue after step {number:,}", "and"] if number else []
    epochs_and_steps = f"({round(total / steps, 2):,.9g} x {steps:,} steps an epoch);"
    return grid.fold(["dry run: would", *start, f"train to step {total:,}", epochs_and_steps, "nothing was trained or saved"])


def resume_argument(run_dir: object, plugins: Sequence[str] = ()) -> str:
    """resume=RUN_DIR as it must be typed in a shell: a path is text for bnn-train, but for null, a leading ~ and outer quotes.

    Before it stand the plugins that the run needs, which no file may import.
    """
    path = str(run_dir)
    if path == "null" or path[:1] in ("~", "'", '"'):
        path = f"./{path}"
    needed = [f"plugins=[{','.join(plugins)}]"] if plugins else []
    return shlex.join([*needed, f"resume={path}"])
