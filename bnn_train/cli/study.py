"""`bnn-study`: methods beside their real-valued twin, over seeds, as one table."""

import datetime
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnn_train import files
from bnn_train.cli import (
    compose,
    plug,
    side_by_side,
    study_arguments,
    study_checks,
    study_complete,
    study_progress,
    study_rows,
    study_runs,
)
from bnn_train.cli.study_arguments import Typed
from bnn_train.cli.study_rows import Row, folder_of
from bnn_train.errors import Interrupted
from bnn_train.report import grid, study, study_table, terminal

HELP = """\
bnn-study: compare methods with their real-valued twin, over several seeds

Usage: bnn-study methods=a,b,c [seeds=N] [study.name=NAME] [overrides]

  methods=bnn,xnor   published ones or your own; bnn-train --help lists them
  seeds=3            0, 1 and 2; or a list, seeds=[3,4]; by default 0 alone
  study.name=NAME    the folder is studies/NAME; by default named after the
                     overrides
  dry_run=true       show what would be trained, and train nothing

All other arguments are bnn-train's, and hold for every row alike: model=mlp,
data=mnist, trainer.epochs=30, experiment=mnist_mlp, plugins=[my.py], -cd DIR.

The real-valued twin, ste=none weights=real, is trained first; where the methods
bring different models there is one of each. All rows have the same number of
epochs; a method in stages divides them. A tenth of the training images is held
out to choose each run's network, unless data.val_size says otherwise.

The same command goes on after any stop, and trains nothing again; so does one
with more methods or seeds. studies/NAME/ROW/seed=N is an ordinary run.

Examples:
  bnn-study model=mlp methods=bnn,xnor,bop seeds=2 trainer.epochs=3
  bnn-study model=resnet20 methods=bnn,xnor,bireal,reactnet seeds=3 \\
      data=cifar10 data.root=~/data
  bnn-report studies/model=mlp,trainer.epochs=3 --html page.html

Completion on Tab:   eval "$(bnn-study -sc install=bash)"   (or zsh, fish)
"""

_NEEDS_HELD_OUT = ("trainer.patience",)  # keys that are refused until it is known what is held out


def main() -> None:
    terminal.settle()
    given = sys.argv[1:]
    if study_complete.is_asked(given):
        study_complete.answer(given)
    elif {"--help", "-h"} & set(given):
        terminal.write(HELP)
    elif given == ["--version"]:
        compose.print_version()
    else:
        plug.load_of(given)
        compose.command(lambda: _study(given))


def _study(given: Sequence[str]) -> None:
    typed = study_arguments.read(given)
    folder = Path("studies") / typed.name
    settled = [f"{key}=null" for key in _NEEDS_HELD_OUT if any(each.startswith(f"{key}=") for each in typed.overrides)]
    first = study_rows.rows(typed, settled)
    held_out, overrides = _held_out(first, typed, folder)
    rows = study_rows.rows(typed, overrides) if overrides or settled else first
    missing = {(row.name, seed) for row, seed in study_progress.in_order(rows, typed.seeds) if not _is_done(row, seed, folder)}
    rows = study_checks.tried(rows, {name for name, _ in missing})
    to_do = [(row, seed) for row, seed in study_progress.in_order(rows, typed.seeds) if (row.name, seed) in missing]
    if typed.dry_run:
        _show(rows, typed, folder, to_do)
        return
    folder.mkdir(parents=True, exist_ok=True)
    about = _about(given, typed, rows, held_out, overrides, folder)
    write(about, rows, typed.seeds, folder)
    if os.name == "posix":
        side_by_side.forward_signals()
    try:
        study_progress.train_all(rows, typed.seeds, to_do, folder, lambda: write(about, rows, typed.seeds, folder))
    except (Interrupted, KeyboardInterrupt):
        terminal.over_line("")
        terminal.say(f"stopped; what was trained is kept, and the same command goes on: bnn-study {shlex.join(given)}", "stderr")
        raise
    finally:
        ended = write(about, rows, typed.seeds, folder)
    taken = terminal.write(f"\n{study_table.terminal(ended)}\n\n")
    taken &= terminal.write(grid.sentence(f"saved in {folder}: study.md, study.json") + "\n")
    if not taken or any(row["refused"] or any(run["status"] == "failed" for run in row["runs"]) for row in ended["rows"]):
        sys.exit(1)


def _is_done(row: Row, seed: int, folder: Path) -> bool:
    place = folder_of(folder, row.name, seed)
    return study_runs.check(row, seed, place) and study_runs.read(place, seed)["status"] == "finished"


def _held_out(rows: Sequence[Row], typed: Typed, folder: Path) -> tuple[int | str, list[str]]:
    """As study_rows.to_hold_out; from study.json where the same was typed before, so that the images need not be read."""
    before = study.load(folder)
    if before is not None and before.get("overrides") == typed.overrides:
        return before["held_out"], before["held_out_by"]
    return study_rows.to_hold_out(rows, typed)


def _about(
    given: Sequence[str], typed: Typed, rows: Sequence[Row], held_out: int | str, by: list[str], folder: Path
) -> dict[str, Any]:
    """What study.json says besides its rows."""
    from bnn_train.runs import environment

    before = study.load(folder) or {}
    return {
        "format": study.FORMAT,
        "name": typed.name,
        "title": f"studies/{typed.name}",
        "command": shlex.join(["bnn-study", *given]),
        "overrides": typed.overrides,
        "data": next(row.config.data.name for row in rows if row.config is not None),
        "seeds": typed.seeds,
        "held_out": held_out,
        "held_out_by": by,
        "processor": environment.processor(),
        "begun": before.get("begun") or _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def write(about: dict[str, Any], rows: Sequence[Row], seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """study.json and study.md, of what the runs' directories hold now, whoever has trained them; returns the former."""
    found = []
    for row in rows:
        runs = [] if row.refused else [study_runs.read(folder_of(folder, row.name, seed), seed) for seed in seeds]
        found.append({**study_rows.described(row), "runs": runs})
    whole = {**about, "updated": _now(), "rows": found}
    for name, text in ((study.FILE, json.dumps(whole, indent=1) + "\n"), ("study.md", study_table.markdown(whole))):
        content = text.encode("utf-8", "look_alike")
        files.write(folder / name, lambda file, content=content: file.write(content), shared=True)  # type: ignore[misc]
    return whole


def _show(rows: Sequence[Row], typed: Typed, folder: Path, to_do: Sequence[tuple[Row, int]]) -> None:
    """What would be trained."""
    total = len(study_progress.in_order(rows, typed.seeds))
    said = f"dry run: {len(to_do)} of {total} runs would be trained below {folder}; nothing was"
    terminal.write(grid.sentence(said) + "\n")
    for row in rows:
        if row.refused:
            terminal.write("\n" + grid.sentence(f"{row.name}: refused, {row.refused}") + "\n")
            continue
        open_seeds = [f"seed {seed}" for each, seed in to_do if each is row]
        staged = f"; {study.divided({'epochs': row.epochs})}" if row.epochs[1:] else ""
        terminal.write("\n" + grid.sentence(f"{row.name}: {', '.join(open_seeds) or 'finished'}{staged}") + "\n")
        terminal.write(f"  bnn-train {shlex.join(row.overrides)}\n")


if __name__ == "__main__":
    main()
