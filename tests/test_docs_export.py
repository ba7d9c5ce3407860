"""The commands of docs/export.md run as they stand there, from a folder of photos on."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ((?:bnn-|cc |\./|python -c).*)$", PAGE, re.MULTILINE)


def photos(folder, count):
    """Two kinds of pictures in folders of their own, of several sizes."""
    random = np.random.default_rng(0)
    for name, brighter in (("day", 120), ("night", 0)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 130, (48 + i % 3, 64, 3)) + brighter
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.jpg")


def test_the_page_has_the_whole_walk():
    assert [command.split()[0] for command in COMMANDS] == [
        *("bnn-train", "bnn-export", "bnn-predict"),
        *("bnn-export", "bnn-export", "bnn-export", "cc", "python", "./predict"),
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_every_command_runs(tmp_path):
    photos(tmp_path / "photos", 60)
    photos(tmp_path / "some", 2)
    (tmp_path / "new").mkdir()
    for i, path in enumerate(sorted((tmp_path / "some").rglob("*.jpg"))):
        shutil.copy(path, tmp_path / "new" / f"{i}.jpg")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    scripts = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    environment = {**os.environ, "PATH": os.pathsep.join([*scripts, os.environ["PATH"]])}
    for command in COMMANDS:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        if command.startswith("bnn-export") and not command.endswith(".bnn"):
            assert "as written: " in done.stdout
    assert re.search(r"day|night", done.stdout)
