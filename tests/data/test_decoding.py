import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train.data import decoding
from bnn_train.data.decode import decode
from bnn_train.data.decoding import decode_all
from bnn_train.errors import ConfigError


@pytest.fixture
def files(pictures):
    return sorted(pictures.rglob("*.png"))


def test_each_image_at_its_place(files, config):
    images, notes = decode_all(files, config())
    assert images.shape == (20, 3, 6, 8)
    for image, path in zip(images.numpy(), files, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(path)).transpose(2, 0, 1))
    assert notes == []


PROGRAM = """
from pathlib import Path
from bnn_train import startup
from bnn_train.config.data import DataConfig
from bnn_train.data import decoding
print("runs")
startup.processors, decoding._FILES_WORTH_PROCESSES = lambda: 2, 2
config = DataConfig(name="image_folder", root="x", image_size=4, mean=[0.5] * 3, std=[0.5] * 3)
print(decoding.decode_all([Path("a.png")] * 40, config)[0].shape)
"""


def test_processes_leave_the_program_alone_that_has_no_guard(tmp_path):
    """Not run again in each of them, where it would train again."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    line = [sys.executable, "program.py"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["runs", "torch.Size([40, 3, 4, 4])"], done.stderr
    assert "in one process" not in done.stderr


KILLED = """
import os, signal
from bnn_train.data import decoding
decoding.startup.processors = lambda: 1
results = decoding._in_processes(abs, [-1] * 64)
print(next(results), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of POSIX")
def test_processes_end_with_the_one_that_is_killed(tmp_path):
    """They hold its output open: it ends when the last of them has."""
    (tmp_path / "program.py").write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    line, pipe = [sys.executable, "program.py"], subprocess.PIPE
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=pipe, text=True, start_new_session=True) as program:
        try:
            assert program.communicate(timeout=20)[0] == "1\n"
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    assert program.returncode == -signal.SIGKILL


def test_processes_decode_the_same(files, config, monkeypatch):
    expected, _ = decode_all(files, config())
    monkeypatch.setattr(decoding, "_FILES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(decoding.startup, "processors", lambda: 2)
    assert torch.equal(decode_all(files, config())[0], expected)
    files[3].write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"is not a readable image \(in no format that Pillow knows\)"):
        decode_all(files, config())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(30, "Read-only file system"), "the system allows no processes for it"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (FileNotFoundError(2, "No such file or directory"), "No such file"),
        (ImportError("This platform lacks a functioning sem_open implementation"), "lacks a functioning sem_open"),
        (RuntimeError("can't start new thread"), "the system allows no more threads"),
        (BrokenProcessPool("A process was terminated abruptly"), "was ended by the system, most likely for want of memory"),
    ],
)
@pytest.mark.parametrize("done", [0, 7])
def test_where_processes_fail_this_one_goes_on(files, config, monkeypatch, said, error, reason, done):
    expected, _ = decode_all(files, config())

    def failing(function, paths):
        yield from map(function, paths[:done])
        raise error

    monkeypatch.setattr(decoding, "_FILES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(decoding.startup, "processors", lambda: 2)
    monkeypatch.setattr(decoding, "_in_processes", failing)
    assert torch.equal(decode_all(files, config())[0], expected)
    (line,) = said()
    assert line.startswith(f"image_folder: decoding {20 - done} images in one process, which takes longer: ")
    assert reason in line


def end_the_process(path, parent):
    if path.name == "7.png" and os.getpid() != parent:
        os._exit(9)
    return path.name


def test_a_process_that_is_killed(files, monkeypatch, said):
    monkeypatch.setattr(decoding, "_FILES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(decoding.startup, "processors", lambda: 2)
    function = partial(end_the_process, parent=os.getpid())
    assert list(decoding._results(function, files)) == [path.name for path in files]
    assert "was ended by the system" in said()[0]


@pytest.mark.parametrize("content", [b"", b"not an image", "cut"])
def test_an_unreadable_image_is_named(files, config, content):
    path = files[14]
    path.write_bytes(path.read_bytes()[:-60] if content == "cut" else content)
    with pytest.raises(ConfigError, match=r"dog.4\.png is not a readable image \(.+\); mend or remove it"):
        decode_all(files, config())


def test_all_unreadable_images_are_named_at_once(files, config):
    for path in files[:12]:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"12 files are no readable images: cat/0\.png \(empty\), cat/1\.png .* and 2 more; mend"):
        decode_all(files, config())
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match="20 files are no readable images"):
        decode_all(files, config())


def test_images_of_different_sizes(files, config, paint):
    paint(files[14], size=(9, 9))
    message = r"data\.image_size=null: the images differ in size, 8x6 \(cat/0\.png\) and 9x9 \(dog/4\.png\)"
    with pytest.raises(ConfigError, match=message):
        decode_all(files, config())
    assert decode_all(files, config(image_size=8))[0].shape == (20, 3, 8, 8)


def test_a_size_that_no_machine_can_hold_is_refused_before_decoding(files, config, monkeypatch):
    monkeypatch.setattr(decoding, "decode", None)
    with pytest.raises(ConfigError, match=r"data\.image_size=9999999: 20 images of 9999999x9999999, 3 channels, need"):
        decode_all(files, config(image_size=9999999))


def save(path: Path, values: float, dtype: type) -> Path:
    Image.fromarray(np.full((2, 2), values, dtype)).save(path)
    return path


def test_deep_images_are_on_one_scale(tmp_path, config):
    files = [save(tmp_path / f"{v}.tif", v, np.float32) for v in (0.2, 0.8)]
    images, notes = decode_all(files, config(grayscale=True))
    assert images.flatten(1)[:, 0].tolist() == [51, 204]
    assert notes == ["2 images of 32 bits or floats on one scale: 0 is black, 1 white"]
    files.append(save(tmp_path / "far.tif", -0.8, np.float32))
    assert decode_all(files, config(grayscale=True))[0].flatten(1)[:, 0].tolist() == [159, 255, 0]


def test_deep_images_among_others(tmp_path, config):
    files = [
        save(tmp_path / "a.png", 40, np.uint8),
        save(tmp_path / "b.png", 257 * 50, np.uint16),
        save(tmp_path / "c.tif", 60, np.int32),
        save(tmp_path / "d.png", 70, np.uint8),
    ]
    assert decode_all(files, config())[0][:, 2, 1, 1].tolist() == [40, 50, 60, 70]
    assert decode(files[0]).shape == (3, 2, 2)
