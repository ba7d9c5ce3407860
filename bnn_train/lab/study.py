"""A study: one protocol over several networks, kept network by network, and gathered in lab.json.

Networks differ in the seed of everything random in them. Each is computed by one thread, alone or in one of several processes, so
that neither how many there are nor a stop on the way changes a figure.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from tqdm import tqdm

from bnn_train.config.checks import flat
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_mirror import MirrorConfig
from bnn_train.config.lab_shortcomings import ShortcomingConfig
from bnn_train.config.lab_training import LabTrainingConfig
from bnn_train.config.lab_weights import WeightsProtocolConfig
from bnn_train.config.protocol import ProtocolConfig, SignsConfig
from bnn_train.errors import ConfigError
from bnn_train.files import write_text
from bnn_train.lab import mirror, processes, shortcomings, signs, training, weights
from bnn_train.runs import environment

Report = dict[str, Any]  # the content of lab.json
# Of each kind of protocol, the module: `check(config)` refuses what the types of the configuration cannot, `run(config, folder,
# tick)` gives one network's figures, and `gathered(list of them)` those of all, with the kind that report/laboratory.py knows.
KINDS: dict[type[ProtocolConfig], ModuleType] = {
    SignsConfig: signs,
    WeightsProtocolConfig: weights,
    MirrorConfig: mirror,
    ShortcomingConfig: shortcomings,
    LabTrainingConfig: training,
}
SPREAD = 1000  # between the seeds of a study's networks, so that studies of neighbouring seeds share none
FREE = ("protocol.networks", "protocol.plotted", "plugins")  # keys that change no network's figures


def run(config: LabConfig, folder: Path) -> Report:
    """Measures as `config` says, keeps each network's figures and lab.json in `folder`, and returns what lab.json holds.

    Network n has the seed config.seed + 1000 n. What lab.json says of all is what the protocol's `gathered` makes of the figures of
    each, which stay in networks/.
    Raises ConfigError where the folder holds a study with another configuration, before anything is done.
    """
    check(config)
    _check_same(config, folder)
    kept = folder / "networks"
    kept.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(asdict(config), indent=2), folder / "config.json")
    files = [kept / f"{number}.json" for number in range(config.protocol.networks)]
    todo = [number for number, file in enumerate(files) if not file.exists()]
    total, done = len(files), len(files) - len(todo)
    with (
        tqdm(total=total, initial=done, desc="networks", bar_format=BAR, disable=None, leave=False) as bar,
        _timed(folder),
    ):
        processes.each(of_network, (config, kept), todo, lambda share: bar.update(min(share, total - bar.n)))  # but for rounding
    return _gathered(config, folder, files)


def check(config: LabConfig) -> None:
    """Raises ConfigError for what the types of the configuration cannot refuse."""
    KINDS[type(config.protocol)].check(config)


BAR = "{desc} {n:.1f} of {total}|{bar}| {elapsed}, {remaining} left"


def of_network(config: LabConfig, kept: Path, number: int, tick: Callable[[float], None]) -> None:
    """Computes the figures of one network and writes them. tick: told the share that is done of it, bit by bit."""
    torch.set_num_threads(1)
    own, parts = replace(config, seed=config.seed + SPREAD * number), kept / str(number)
    ticked = 0.0

    def told(share: float) -> None:
        nonlocal ticked
        ticked += share
        tick(share)

    found = KINDS[type(config.protocol)].run(own, parts, told)
    write_text(json.dumps({"seed": own.seed, **found}), kept / f"{number}.json")
    shutil.rmtree(parts, ignore_errors=True)
    tick(1 - ticked)


def _check_same(config: LabConfig, folder: Path) -> None:
    if not (folder / "config.json").exists():
        return
    stored, new = flat(json.loads((folder / "config.json").read_text(encoding="utf-8"))), flat(asdict(config))
    for key in [*new, *stored]:
        if stored.get(key) != new.get(key) and key not in FREE:
            remedy = f"{folder} holds a study with {stored.get(key)}; delete it, or set hydra.run.dir to another"
            raise ConfigError(key, new.get(key), remedy)


@contextmanager
def _timed(folder: Path) -> Iterator[None]:
    """Adds the time within, also where it is stopped, to that of all who worked on this study."""
    start = time.perf_counter()
    try:
        yield
    finally:
        write_text(json.dumps(_seconds(folder) + time.perf_counter() - start), folder / "seconds.json")


def _seconds(folder: Path) -> float:
    file = folder / "seconds.json"
    return float(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else 0.0


def _gathered(config: LabConfig, folder: Path, files: list[Path]) -> Report:
    report = {
        "config": asdict(config),
        "seconds": _seconds(folder),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(Path(__file__).parent.parent.parent),
        "networks": len(files),
        **KINDS[type(config.protocol)].gathered([json.loads(file.read_text(encoding="utf-8")) for file in files]),
    }
    write_text(json.dumps(report) + "\n", folder / "lab.json")
    return report
