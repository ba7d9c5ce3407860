"""--csv FILE: what it writes to, and what it leaves alone."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bnn_train.cli import csv_file
from bnn_train.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(given, *texts, inputs=()):
    with csv_file.opened(csv_file.destination(given, inputs)) as put:
        for text in texts:
            put(text)


def test_a_new_file_of_any_name_and_an_older_csv_are_written():
    Path("old.CSV").write_text("older")
    for name in ("new.csv", "new", "new.tsv", "old.CSV"):
        write(name, "a\n", "b\n")
        assert Path(name).read_bytes() == b"a\nb\n"
    assert sorted(os.listdir()) == ["new", "new.csv", "new.tsv", "old.CSV"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", "is there already, and is no .csv file; name another, or delete it first"),
        ("link.csv", "is there already, and is no .csv file; name another, or delete it first"),
        ("input.csv", "is input.csv, which is read here; name another file"),
        ("to_input.csv", "is input.csv, which is read here; name another file"),
        ("folder", f"is a folder; name a file in it: {Path('folder', 'predictions.csv')}"),
        ("to_folder.csv", f"is a folder; name a file in it: {Path('to_folder.csv', 'predictions.csv')}"),
        ("notes.txt/x.csv", "cannot be written to (not a directory)"),
        ("circle.csv", "cannot be written to (too many levels of symbolic links)"),
    ],
)
def test_what_would_be_lost_is_refused(name, said):
    for file in ("notes.txt", "input.csv"):
        Path(file).write_text("mine")
    Path("folder").mkdir()
    for link, target in (
        ("link.csv", "notes.txt"),
        ("to_input.csv", "input.csv"),
        ("to_folder.csv", "folder"),
        ("circle.csv", "circle.csv"),
    ):
        Path(link).symlink_to(target)
    with pytest.raises(ConfigError) as caught:
        csv_file.destination(name, [Path("gone.png"), Path("input.csv")])
    assert str(caught.value) == f"--csv={name}: {said}"
    assert (Path("notes.txt").read_text(), Path("input.csv").read_text()) == ("mine", "mine")


def test_links_are_followed_to_a_csv_and_to_where_there_is_nothing_yet():
    Path("folder").mkdir()
    Path("folder/old.csv").write_text("older")
    for link, target in (("old.csv", "folder/old.csv"), ("new.csv", "folder/new.csv")):
        Path(link).symlink_to(target)
        write(link, "a\n")
        assert Path(link).is_symlink()
        assert Path(target).read_text() == "a\n"
    Path("nowhere.csv").symlink_to("nowhere/x.csv")
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere"):
        csv_file.destination("nowhere.csv", [])


@pytest.mark.parametrize("closed", [".", "old.csv"])
def test_a_place_that_may_not_be_written_to(monkeypatch, closed):
    Path("old.csv").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path(closed).absolute())
    with pytest.raises(ConfigError, match=r"^--csv=old.csv: .* may not be written to; name another file$"):
        csv_file.destination("old.csv", [])


def test_what_fails_on_the_way_leaves_the_older_file():
    Path("old.csv").write_text("older")

    def fails():
        with csv_file.opened(Path("old.csv")) as put:
            put("a\n")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    assert Path("old.csv").read_text() == "older"


def test_a_pipe_gets_each_text_at_once_and_its_reader_may_leave():
    os.mkfifo("pipe")
    received = []

    def reader():
        with open("pipe", "rb", buffering=0) as pipe:
            received.append(pipe.read(100))
            ready.set()

    ready = threading.Event()
    thread = threading.Thread(target=reader)
    thread.start()
    with csv_file.opened(csv_file.destination("pipe", [])) as put:
        put("a\n")
        assert ready.wait(30)
        thread.join(30)
        put("b\n")
        put("c\n")
    assert received == [b"a\n"]
    assert Path("pipe").is_fifo()


def test_a_device_that_takes_nothing_is_an_error():
    if not Path("/dev/full").exists():
        pytest.skip("no such device here")
    with pytest.raises(ConfigError, match=r"^file=/dev/full: could not be written"):
        write("/dev/full", "a\n")
    write("/dev/null", "a\n")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such file here")
@pytest.mark.parametrize(("shell", "given"), [("| cat", "/dev/stdout"), ("> out.txt", "/dev/stdout"), ("> out.csv", "out.csv")])
def test_standard_output_by_any_name_is_standard_output(shell, given):
    code = f"""
import sys
from bnn_train.cli import csv_file
print(csv_file.destination({given!r}, []), csv_file.destination("/dev/null", []), file=sys.stderr)
"""
    line = ["sh", "-c", f'"$0" -c "$PROGRAM" {shell}', sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROGRAM": code}
    assert subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stderr == "None /dev/null\n"
    assert csv_file.destination("-", []) is None
