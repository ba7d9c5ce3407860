"""Fixtures: a typed configuration from overrides, and the command line in a process of its own."""

import copy
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# One thread: the networks of the tests are tiny, and more would only wait for each other. Set before torch loads.
os.environ["OMP_NUM_THREADS"] = "1"

# What a shell or nohup has ignored would be ignored by every process that the tests start, and by the handlers that they test.
for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL), ("SIGTERM", signal.SIG_DFL)):
    if getattr(signal, _name, None) is not None and signal.getsignal(getattr(signal, _name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _usual)

import pytest

from bnn_train import plugins, register
from bnn_train.cli.compose import typed
from bnn_train.config.root import Config

ROOT = Path(__file__).parent.parent
SMALL = ("model.hidden=[16,16]", "trainer.epochs=2")


@pytest.fixture(scope="session")
def compose() -> Callable[..., Config]:
    """compose("ste=tanh", "seed=1") is what `bnn-train ste=tanh seed=1` would run."""
    once = functools.cache(lambda *overrides: typed(list(overrides)))  # Hydra takes a sixth of a second
    return lambda *overrides: copy.deepcopy(once(*overrides))


@pytest.fixture
def small(compose) -> Callable[..., Config]:
    """The default job made small enough to train in a moment, with overrides."""
    return lambda *overrides: compose(*SMALL, *overrides)


@pytest.fixture
def command(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `python -m bnn_train ARGUMENTS` in tmp_path."""

    def function(*arguments: str, module: str = "bnn_train", **variables: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([variables.pop("PYTHONPATH", ""), str(ROOT)]), **variables}
        line = [sys.executable, "-m", module, *arguments]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return function


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """plugin(text) writes mine.py into tmp_path, now the current directory, and gives the argument that names it.

    What is imported of plugins is gone afterwards.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def write(text: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return f"plugins=[{name}]"

    yield write
    for source in {each.source for found in register.FOUND.values() for each in found.values()}:
        register.forget(source)
    plugins._loaded.clear()
    plugins._folders.clear()
    plugins.broken.clear()
    os.environ.pop(plugins.VARIABLE, None)
