"""What is to be said of a poor result, in words and with a remedy: from its figures alone."""

import math
import re
from collections.abc import Sequence
from typing import Any

from bnn_train.report import classes

Row = dict[str, Any]  # one line of metrics.jsonl

ENOUGH_STEPS = 1000  # below it a network that has learned little may just not have been trained
_BY_HEART = 0.3  # of accuracy: so much better on its training images, a network knows these and not what they show
_LEARNED = 0.95  # of its training images: little is left to learn
_LITTLE = 0.5  # of its training images
_FALLING = 0.98  # a loss below this share of the epoch's before is still falling
# A sign of each note, of `advice` and of report/health.py, and what a table of many runs says of it; remedies alone are no kind.
_KINDS = {
    "^this network is not binary yet": "not binary yet",
    "^test accuracy .*naming the most frequent class": "not clearly better than the most frequent class",
    "^the network never names": "some class is never named",
    "trainer.class_weights=balanced": "some classes have many more training images",
    "^the run was short": "trained for too short",
    "^it knows its training images": "knows its training images, and nothing of others",
    "^try another optimizer.lr": "",
    "^the loss is .*where guessing has": "the loss is absurdly high",
    "^(next to )?nothing flips": "next to no binary weight has changed its sign",
    "left the window of": "weights have left the window of their estimator",
    "^[^:]*: the inputs are all": "the inputs of some layer are constant",
    "outside the window of": "the inputs of some layer lie outside the window of its estimator",
    "^[^:]*: the norm of the gradient": "the gradient of some layer vanishes",
    "flip back and forth": "weights flip back and forth",
}


def advice(
    summary: dict[str, Any],
    history: Sequence[Row],
    steps: int,
    per_epoch: int,
    largest_class: float,
    ill: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    uneven: str = "",
) -> list[str]:
    """A line for each thing that a user should know of the result; none for a good one.

    steps, per_epoch: of the whole run, and of an epoch. largest_class: the share of the test images that are of the most frequent
    class. ill: what is wrong with its binary layers (report/health.py), which comes before more steps or another size.
    unfinished: that it is not binary yet, and how to get there, which comes first and leaves its figures open. uneven: that some
    classes have many more training images than others (data/balance.py), where they could count the same.
    """
    found = [*unfinished]
    accuracy, images = summary["test_accuracy"], summary["images"]["test"]
    deviation = math.sqrt(largest_class * (1 - largest_class) / images)
    # Of few images the deviation is large: half of what is to be won is no chance.
    useless = accuracy <= min(largest_class + 2 * deviation, (largest_class + 1) / 2)
    if useless:
        better = (
            "below" if accuracy < largest_class else "no better than" if accuracy == largest_class else "not clearly better than"
        )
        always = f"naming the most frequent class each time, {largest_class:.2%}"
        found.append(f"test accuracy {accuracy:.2%} is {better} {always}, on {images:,} images")
    if never := classes.never_named(summary):
        found.append(f"the network never names {_listed(never)}, of which there are test images")
    if uneven and (useless or never):
        found.append(f"{uneven}: trainer.class_weights=balanced lets every class count the same")
    found += ill
    if unfinished:
        return found
    losses = [row["train_loss"] for row in history]
    falling = len(losses) > 1 and losses[-1] < _FALLING * losses[-2] and summary["train_accuracy"] < _LEARNED
    is_short = steps < ENOUGH_STEPS and "ended" not in summary  # where trainer.patience has ended it, more would change nothing
    if is_short and (useless or falling or summary["train_accuracy"] < _LITTLE) and not ill:
        state = ", with the loss still falling" if falling else ""
        longer = _longer(summary["epochs"], summary["max_steps"], per_epoch)
        found.append(f"the run was short, {steps:,} steps{state}: {longer} would be {ENOUGH_STEPS:,} steps or more")
    elif useless and summary["train_accuracy"] > accuracy + _BY_HEART:
        found.append(
            f"it knows its training images, {summary['train_accuracy']:.2%}, and nothing of others: that takes more images, "
            "or more of data.flip, data.crop_padding and data.cutout"
        )
    elif useless and not ill:
        found.append("try another optimizer.lr, a larger or smaller model, or the real-valued twin: ste=none weights=real")
    return found


def kinds(notes: Sequence[str]) -> list[str]:
    """What a run's notes complain of, in a few words without its figures and remedies, each kind once: for a table of many runs."""
    found: dict[str, None] = {}
    for note in notes:
        found[next((words for sign, words in _KINDS.items() if re.search(sign, note)), note.partition(": ")[0])] = None
    return [kind for kind in found if kind]


def _listed(names: Sequence[str]) -> str:
    """a, b, c and 5 more classes."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more classes" if len(names) > 3 else "")


def _longer(epochs: int, max_steps: int | None, per_epoch: int) -> str:
    """The overrides with which a run does ENOUGH_STEPS, of which one of its two ends has kept it."""
    enough = math.ceil(ENOUGH_STEPS / per_epoch)
    if epochs >= enough:
        return f"trainer.max_steps={ENOUGH_STEPS} or null"
    without = "" if max_steps is None or max_steps >= ENOUGH_STEPS else "trainer.max_steps=null "
    return f"{without}trainer.epochs={enough}"
