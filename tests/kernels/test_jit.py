import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from bnn_train.kernels import jit


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jit, "_broken", [])
    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", "")
    return tmp_path / "bnn_train" / "kernels"


def twice(x):
    return 2 * x


def test_what_was_compiled_is_kept_in_the_cache_folder(cache):
    first = jit.block(twice)
    assert first(1.5) == 3
    assert sorted(path.suffix for path in cache.rglob("*.*")) == [".nbc", ".nbi"]
    again = jit.block(twice)
    assert again(1.5) == 3
    assert sum(again.stats.cache_hits.values()) == 1
    assert not jit.numba.config.CACHE_DIR  # whatever else uses Numba finds its own setting


def test_where_nothing_can_be_written_kernels_are_compiled_anew(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    assert jit.folder() is None
    assert jit.block(twice)(2) == 4


def test_what_is_forgotten_is_gone_and_nothing_new_is_kept(cache):
    jit.block(twice)(1.5)
    jit.forget()
    jit.block(twice)(1.5)
    assert not list(cache.rglob("*.nb*"))


def test_the_folder_of_numbas_own_variable_is_used(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", str(tmp_path / "own"))
    jit.block(twice)(1.5)
    assert list((tmp_path / "own").rglob("*.nbi"))
    assert str(tmp_path / "own") == jit.numba.config.CACHE_DIR
    assert not cache.exists()


def test_the_kernels_load_no_torch():
    script = "import sys, bnn_train.kernels.steps; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
