"""The bar of an epoch in training."""

from tqdm import tqdm

from bnn_train.config.trainer import TrainerConfig
from bnn_train.report import lines, terminal


def start(epoch: int, config: TrainerConfig, steps: int, step: int) -> tqdm:
    """A bar over the images of an epoch (from 0) with the time left; silent where there is no terminal to draw it on."""
    return tqdm(
        desc=_figures(epoch, config, None),
        total=steps * config.batch_size,
        initial=step * config.batch_size,
        disable=not terminal.shows_bar(),
        leave=False,
        ncols=terminal.width("stderr") - 3,  # the ^C that a terminal shows must not begin a new line
        bar_format="{desc} |{bar}|{percentage:4.0f}%  left {remaining}",
    )


def show(shown: tqdm, epoch: int, config: TrainerConfig, seen: tuple[float, float]) -> None:
    """seen: loss and accuracy so far."""
    shown.set_description_str(_figures(epoch, config, seen))


def _figures(epoch: int, config: TrainerConfig, seen: tuple[float, float] | None) -> str:
    """What stands before the bar. Bar and time take 36 columns."""
    return lines.bar_figures(epoch + 1, config.epochs, seen, terminal.width("stderr") - 36)
