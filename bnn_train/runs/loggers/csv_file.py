"""`logger=csv`: metrics.csv, for a spreadsheet."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from bnn_train import files
from bnn_train.runs.loggers.start import Logger, Start
from bnn_train.training.trainer import Row


def start(config: Any, run: Start) -> Logger:
    """A line an epoch under a line of names. Each time the whole file, which a run that goes on has to write anew anyway."""
    rows = [row for row, _ in run.rows]

    def write(row: Row, health: Row) -> None:
        rows.append(row)
        files.write_text(_text(rows), run.run_dir / "metrics.csv")

    files.write_text(_text(rows), run.run_dir / "metrics.csv")
    return Logger(write)


def _text(rows: Iterable[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
