"""The installed commands: each is there, and says in one line which package is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bnn_train.cli import start

ROOT = Path(__file__).parent.parent.parent
COMMANDS = re.findall(r'^bnn-\w+ = "bnn_train\.cli\.start:(\w+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)


def test_every_command_has_its_start():
    assert set(COMMANDS) == {"train", "evaluate", "export", "predict", "report", "lab", "study"}
    assert all(callable(getattr(start, name)) for name in COMMANDS)


@pytest.mark.parametrize(("command", "missing"), [("train", "hydra"), ("export", "omegaconf"), ("evaluate", "omegaconf")])
def test_a_missing_package_is_one_line(command, missing):
    """As in an environment in which the package was installed without what it needs."""
    code = f"import sys; sys.modules[{missing!r}] = None; from bnn_train.cli import start; start.{command}()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"error: this needs [\w-]+, which is not installed here: pip install .*\n", done.stderr)


def test_another_missing_module_is_a_defect(monkeypatch):
    monkeypatch.setattr(start.importlib, "import_module", lambda name: __import__("no_such_module_of_ours"))
    with pytest.raises(ModuleNotFoundError):
        start.train()
