import pytest

from bnn_train.kernels import compiler, elements, kept

pytestmark = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bnn_train" / "kernels"


@pytest.fixture
def compiles(monkeypatch):
    """Gets an entry for each kernel that LLVM compiles."""
    calls, right = [], kept.save
    monkeypatch.setattr(kept, "save", lambda key, code: calls.append(key) or right(key, code))
    return calls


def sign_of(number):
    """By a kernel that is new in this process."""
    import numpy as np

    compiler._compiled.cache_clear()
    x, signs = np.full(20, number, np.float32), np.zeros(20, np.int8)
    elements.run(elements.SIGN, 20, (x.ctypes.data, signs.ctypes.data))
    return set(signs.tolist())


def test_what_one_process_has_compiled_the_next_one_loads(folder, compiles):
    assert sign_of(-2.0) == {-1}
    assert sign_of(3.0) == {1}
    assert len(compiles) == 1
    assert [path.name for path in folder.iterdir()] == compiles


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content[:-1] + b"x"])
def test_damaged_code_is_compiled_again(folder, compiles, damage):
    sign_of(1.0)
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert sign_of(-1.0) == {-1}
    assert sign_of(-1.0) == {-1}
    assert len(compiles) == 2


def test_code_for_another_processor_is_another_file(folder, compiles, monkeypatch):
    sign_of(1.0)
    monkeypatch.setattr(compiler, "CPU", "x86-64-v3")
    assert sign_of(1.0) == {1}
    assert len(set(compiles)) == 2


def test_where_nothing_can_be_written_kernels_are_compiled(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert sign_of(-1.0) == {-1}


def test_code_that_holds_addresses_of_its_process_is_not_kept(folder, compiles):
    import numpy as np

    compiler._compiled.cache_clear()
    x = np.full(4 * elements.WORTH_A_THREAD, -1, np.float32)
    signs = np.zeros(len(x), np.int8)
    elements.run(elements.SIGN, len(x), (x.ctypes.data, signs.ctypes.data), threads=2)
    assert set(signs.tolist()) == {-1}
    assert len(compiles) == 1
