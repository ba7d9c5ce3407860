"""Every code block of README.md and docs/ runs, page by page, each page in a folder of its own, in the order of the page.

How a block is told and what an HTML comment says: docs_blocks.py. What is shortened, where no text depends on it: a training
without `trainer.epochs` gets one epoch, and one with more than five two, but for a ramp of pruning, and for a sweep of which a line
below names a job; a search gets two trials, and the laboratory 50 samples after one epoch. outputs/DATE/TIME is the newest run of
the page's folder, outputs/DATE/OTHER the one before. The home folder is the page's, with a few images in MNIST's own format in
~/data. plugins.md and python.md are run by tests of their own.
"""

import doctest
import os
import re
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import docs_blocks
import numpy as np
import pytest
from docs_blocks import Block

ROOT = Path(__file__).parent.parent
ELSEWHERE = ("plugins.md", "python.md")  # test_docs_plugins.py, test_docs_python.py
PAGES = [page for page in docs_blocks.pages(ROOT) if page.name not in ELSEWHERE]


def shorter(line: str, block: str) -> str:
    """The command with less to do."""
    if "ramp:" in line or "resume=sweeps/" in block:
        return line
    if line.startswith("bnn-lab") and "protocol=" in line:
        less = {"mirror": "steps=10", "training": "steps=2 protocol.samples=200", "weights": "samples=100 protocol.sharpness=[0.5]"}
        less |= {"psa": "samples=50 protocol.epochs=[1]", "single_layer": "samples=50"}
        options = less.get(line.split("protocol=")[1].split()[0], "epochs=0")
        return f"{line} protocol.networks=1 protocol.{options}"
    line = re.sub(r"n_trials=\d+", "n_trials=2", re.sub(r"trainer\.epochs=([6-9]|\d\d+)", "trainer.epochs=2", line))
    if line.startswith(("bnn-train", "bnn-study")) and not re.search(
        r"trainer\.epochs|max_steps|resume=|--help|--cfg|dry_run", line
    ):
        line += " trainer.epochs=1"
    return line


def newest(folder: Path, text: str) -> str:
    """outputs/DATE/TIME and outputs/DATE/OTHER as a person would type them."""
    for name, place in (("TIME", -1), ("OTHER", -2)):
        if f"outputs/DATE/{name}" in text:
            text = text.replace(f"outputs/DATE/{name}", str(sorted(folder.glob("outputs/*/*"))[place].relative_to(folder)))
    return text


def commands(text: str) -> list[str]:
    """The lines of a shell block, continued ones joined, without comments."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [line for line in (re.sub(r"\s+# .*$", "", line).strip() for line in lines) if line and not line.startswith("#")]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(root: Path) -> None:
    """Unpacked files under MNIST's names: 200 training and 50 test images."""
    raw, random = root / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, count in (("train", 200), ("t10k", 50)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(random.integers(0, 256, (count, 28, 28))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))


class Reader:
    """Types what a page says, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("examples", "scripts"):
            (folder / name).symlink_to(ROOT / name)
        write_mnist(folder / "data")
        path = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), "COLUMNS": "80"}

    def type(self, line: str, where: str) -> subprocess.CompletedProcess:
        line = newest(self.folder, line)
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        return subprocess.CompletedProcess(f"{where}: {line}", done.returncode, done.stdout + done.stderr)

    def succeed(self, line: str, where: str) -> None:
        done = self.type(line, where)
        assert done.returncode == 0, f"{done.args}\n{done.stdout[-3000:]}"

    def option_file(self, block: Block) -> None:
        """Writes the file that the text names last before it."""
        path = self.folder / re.findall(r"`(my/\w+/\w+\.yaml)`", block.above)[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def session(self, block: Block, where: str) -> None:
        """`$ ` lines with what they print, of which `...` leaves something out; spaces and line ends do not count."""
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            found, at = " ".join(self.type(line, where).stdout.split()), 0
            for piece in re.split(r"^\.\.\.$", printed, flags=re.MULTILINE):
                wanted = " ".join(piece.split())
                assert wanted in found[at:], f"{where}: {line} printed\n{found[-2000:]}\nand not\n{wanted}"
                at = found.index(wanted, at) + len(wanted)

    def python(self, block: Block, where: str) -> None:
        script = self.folder / "block.py"
        script.write_text(newest(self.folder, block.text), encoding="utf-8")
        arguments = " ".join(str(path) for path in sorted((self.folder / "new").glob("*.jpg")))
        self.succeed(f"python block.py {arguments}", where)

    def run(self, block: Block, where: str) -> None:
        for line in block.before:
            self.succeed(line, where)
        if block.kind == "sh":
            for line in commands(block.text):
                self.succeed(shorter(line, block.text), where)
        elif block.kind == "session":
            self.session(block, where)
        elif block.kind == "python" and ">>>" not in block.text:
            self.python(block, where)


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_block_runs(page, tmp_path, monkeypatch):
    reader, text = Reader(tmp_path), page.read_text(encoding="utf-8")
    found = [block for block in docs_blocks.blocks(text) if not block.not_run]
    for block in found:
        if block.kind == "yaml":
            reader.option_file(block)
    for path in sorted(tmp_path.glob("my/*/*.yaml")):
        group, name = path.parent.name, path.stem
        reader.succeed(f"bnn-train -cd my {group}={name} dry_run=true", page.name)
    for block in found:
        reader.run(block, f"{page.name}:{block.line}")
    if ">>>" in text:
        monkeypatch.chdir(tmp_path)
        assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_no_command_hides_in_a_block_of_text():
    for page in docs_blocks.pages(ROOT):
        for block in docs_blocks.blocks(page.read_text(encoding="utf-8")):
            assert block.kind in ("sh", "session", "python", "yaml", "text", "html", "c"), (page.name, block.line)
            if block.kind == "text":
                assert not re.search(r"^\s*(\$ )?(bnn-\w+|python) ", block.text, re.MULTILINE), (page.name, block.line)


def test_a_reason_is_given_for_what_is_not_run():
    reasons = [block.not_run for page in docs_blocks.pages(ROOT) for block in docs_blocks.blocks(page.read_text(encoding="utf-8"))]
    assert all(len(reason.split()) >= 2 for reason in reasons if reason)
    assert len([reason for reason in reasons if reason]) < len(reasons) / 4


def test_blocks_are_told_by_tag_and_by_first_line():
    page = (
        "a\n\n    bnn-train\n\n    seed=1\n\nb\n"
        "<!-- not run: no GPU -->\n\n```sh\nx\n```\n<!-- before: y -->\n\n    $ z\n    out\n\n- c\n  d\n"
    )
    first, second, third = docs_blocks.blocks(page)
    assert (first.line, first.kind, first.text, first.not_run) == (3, "sh", "bnn-train\n\nseed=1\n", "")
    assert (second.line, second.kind, second.not_run) == (10, "sh", "no GPU")
    assert (third.kind, third.not_run, third.before) == ("session", "", ("y",))
