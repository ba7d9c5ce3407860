"""What CONTRIBUTING.md says of adding an option, followed literally in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
KINDS = ("An estimator", "A weight function", "A model", "A data set", "An optimizer")


def steps(kind):
    """(file, whether it is new, what is written) of each numbered step."""
    section = re.split(r"\n##+ ", TEXT.split(f"### {kind}\n")[1])[0]
    found = []
    for step in re.split(r"\n(?=\d\. )", "\n" + section):
        if not re.match(r"\d\. ", step):
            continue
        words, _, rest = step.partition("```")
        code = "\n".join(line.removeprefix("   ") for line in rest.split("```")[0].splitlines()[1:])
        (place,) = re.findall(r"(new file|end of)\s+`([^`]+)`", words)
        found.append((place[1], place[0] == "new file", code))
    return found


@pytest.mark.docs
def test_every_option_takes_at_most_four_steps_and_works(tmp_path):
    for folder in ("bnn_train", "configs", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in KINDS:
        assert 1 < len(steps(kind)) <= 4
        for file, new, code in steps(kind):
            assert (tmp_path / file).exists() != new, file
            with open(tmp_path / file, "a", encoding="utf-8") as opened:
                opened.write(code if new else f"\n\n{code}")
    options = ("ste=raised_cosine", "weights.prepare=halve", "model=tiny", "data=stripes", "optimizer=rprop", "trainer.epochs=3")
    line = [sys.executable, "-m", "bnn_train", *options, "trainer.batch_size=20", "hydra.run.dir=run"]
    trained = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert "test accuracy" in trained.stdout, trained.stdout + trained.stderr
    resumed = subprocess.run([*line[:3], "resume=run", "trainer.epochs=4"], cwd=tmp_path, capture_output=True, text=True)
    assert "epoch 4/4" in resumed.stdout, resumed.stdout + resumed.stderr
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "tests/binary/test_ste.py",
        "-k",
        "raised_cosine or closed_form",
    ]
    tested = subprocess.run(tests, cwd=tmp_path, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    (passed,) = re.findall(r"(\d+) passed", tested.stdout)
    assert int(passed) > 1
