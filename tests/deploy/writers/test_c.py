"""The C header gives the runner's class scores, bit for bit, for every kind of network, compiler and width of words."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import device, models
from bnn_train.binary.layers import BinaryLayer
from bnn_train.deploy import file
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import load
from bnn_train.deploy.writers import c, c_compare
from bnn_train.errors import ConfigError

HERE = Path(__file__).parent
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no compiler")
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]


def _networks():
    """tests/deploy/test_independent_reader.py, which has all kinds of them."""
    spec = importlib.util.spec_from_file_location("networks", HERE.parent / "test_independent_reader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


N = _networks()


def assert_equal(folder, packed, command=(), count=5):
    """The header's scores are the runner's, with both widths of words; clean under all warnings and sanitizers."""
    path = folder / "some network.h"
    file.write(packed, folder / "m.bnn")
    network = load(folder / "m.bnn", threads=1)
    c.write(network.packed, path)
    images = N.some_images(network.image_shape, count)
    expected = network.logits(images)
    ways = [["-DM_WORD_BITS=64"], ["-DM_WORD_BITS=32", "-DM_POPCOUNT_TABLE"]]
    for k, way in enumerate([[*command]] if command else ways):
        compiler = [] if command else [COMPILERS[k % len(COMPILERS)], "-O1", *WARNINGS, *SANITIZERS]
        own = [word.replace("-DM_", f"-D{c.prefix_of(path).upper()}") for word in way]
        found = c_compare.scores(path, network.packed, images, [*compiler, *own])
        assert np.array_equal(found, expected), way
    return network, images, expected


def trained(compose, overrides, shape):
    device.make_reproducible(0)
    return N.filled(models.build(compose(*overrides), shape, 10), shape)


def packed_of(model, shape, folder):
    N.exported(model, shape, folder / "m.bnn")
    return file.read(folder / "m.bnn")


def square(outputs, size=1, **others):
    """Settings of a convolution."""
    settings = {"outputs": outputs, "kernel": [size, size], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return {**settings, "pad_value": 0, **others}


COMMON = [0, 4, 5, 9, 16]  # of N.NETWORKS


@pytest.mark.parametrize(
    ("overrides", "shape"),
    [pytest.param(*case, marks=[] if k in COMMON else pytest.mark.slow) for k, case in enumerate(N.NETWORKS)],
    ids=lambda x: " ".join(x) if isinstance(x[0], str) else "",
)
def test_networks_of_the_product(compose, tmp_path, overrides, shape):
    assert_equal(tmp_path, packed_of(trained(compose, overrides, shape), shape, tmp_path))


@pytest.mark.parametrize("overrides", [("model=mlp", "model.hidden=[20,12]"), (*N.CNN, "model.pad_value=0")], ids=["mlp", "cnn"])
def test_pruned_edges(compose, tmp_path, overrides):
    model = trained(compose, overrides, (3, 8, 8))
    for layer in model.modules():
        if isinstance(layer, BinaryLayer):
            layer.prune(torch.rand_like(layer.weight) < 0.3)
    assert_equal(tmp_path, packed_of(model, (3, 8, 8), tmp_path))


def test_an_own_network_and_its_gate_to_the_last_bits(tmp_path):
    torch.manual_seed(0)
    assert_equal(tmp_path, packed_of(N.filled(N.Own(None), (3, 9, 10)), (3, 9, 10), tmp_path))
    packed = packed_of(N.filled(N.Own(nn.Sigmoid()), (3, 9, 10)), (3, 9, 10), tmp_path)
    c.write(packed, tmp_path / "m.h")
    assert "of 5 images" in c.compare(tmp_path / "m.h", load(tmp_path / "m.bnn"), N.some_images((3, 9, 10)))


def test_gates_of_a_block_to_the_last_bits(compose, tmp_path):
    packed_of(trained(compose, (*N.CNN, "block=real_to_binary"), (3, 9, 8)), (3, 9, 8), tmp_path)
    network = load(tmp_path / "m.bnn")
    c.write(network.packed, tmp_path / "m.h")
    assert "of 5 images" in c.compare(tmp_path / "m.h", network, N.some_images((3, 9, 8)))


def test_the_planned_memory_holds_what_is_alive_and_no_more():
    inner = square(64, 3, padding=[1, 1], pad_value=-1)
    rng, limits = np.random.default_rng(0), {"threshold": np.zeros(64, np.int16)}
    layer = lambda i: (  # noqa: E731
        Op("conv2d", f"c{i}", (2 * i,), inner, {"weight": N.bits_of(rng, 64, 576)}), Op("sign", f"s{i}", (2 * i + 1,), {}, limits)
    )  # fmt: skip
    first = Op("conv2d", "c", (0,), square(64, 3), {"weight": N.bits_of(rng, 64, 9)})
    pool = Op(
        "avg_pool", "p", (10,), {"kernel": [6, 6], "stride": [1, 1], "padding": [0, 0], "ceil": False, "count_padding": False}
    )
    ops = (first, Op("sign", "s", (1,), {}, limits), *(op for i in (1, 2, 3, 4) for op in layer(i)), pool)
    program = c.built(Packed((1, 8, 8), (*ops, Op("flatten", "f", (11,))), {"classes": ["a"] * 64}))
    # Two images of 6 x 6 pixels of 64 bits, and a patch of 9 of them; the mean takes them as floats, once.
    _, sizes = program.finish()
    assert sizes == {"words": 36 + 36 + 9, "reals": 64 * 36 + 64, "wholes": 0, "pixels": 0}
    assert program.constants.bytes == 8 * 64 + 4 * 64 * 576 // 8 + 5 * 2 * 64


@pytest.mark.parametrize("compiler", [f"{name.replace('gcc', 'g')}++" for name in COMPILERS])
def test_it_is_cpp_too(compose, tmp_path, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    packed = packed_of(trained(compose, (*N.CNN, "block=bireal"), (3, 9, 8)), (3, 9, 8), tmp_path)
    assert_equal(tmp_path, packed, [compiler, "-x", "c++", *WARNINGS, *SANITIZERS])


@pytest.mark.slow
def test_optimisation_and_fused_products_change_nothing(compose, tmp_path):
    packed = packed_of(trained(compose, ("model=resnet20",), (3, 8, 8)), (3, 8, 8), tmp_path)
    for compiler in COMPILERS:
        assert_equal(tmp_path, packed, [compiler, "-O3", "-march=native", "-ffp-contract=fast"])


def test_scores_by_float_are_within_their_bound(compose, tmp_path):
    for overrides in ((*N.CNN, "block=bireal"), ("model=mlp", "model.hidden=[20,12]", "ste=none")):
        packed = packed_of(trained(compose, overrides, (3, 9, 8)), (3, 9, 8), tmp_path)
        c.write(packed, tmp_path / "m.h")
        images = N.some_images((3, 9, 8), 40)
        way = [COMPILERS[0], "-O1", "-DM_FLOAT", *WARNINGS, *SANITIZERS, "-Wdouble-promotion"]
        found, expected = c_compare.scores(tmp_path / "m.h", packed, images, way), load(tmp_path / "m.bnn").logits(images)
        largest, uncertain = c_compare.float_bounds(packed, images)
        assert ((np.abs(found.astype(np.float64) - expected) <= largest).all(axis=1) | uncertain).all()
        assert not uncertain.all()
        assert (found != expected).any()


def test_fast_math_is_refused(compose, tmp_path):
    packed = packed_of(trained(compose, ("model=mlp", "model.hidden=[8,8]"), (1, 4, 4)), (1, 4, 4), tmp_path)
    c.write(packed, tmp_path / "m.h")
    with pytest.raises(ConfigError, match="fast-math"):
        c_compare.scores(tmp_path / "m.h", packed, N.some_images((1, 4, 4)), [COMPILERS[0], "-ffast-math"])


def tiny(tmp_path, classes=("dark", "light"), name="m.h"):
    """The example of docs/format.md."""
    path = tmp_path / "m.bnn"
    path.write_bytes(N.example())
    packed = file.read(path)
    c.write(Packed(packed.image_shape, packed.ops, {"classes": list(classes)}), tmp_path / name)
    return load(path), tmp_path / name


def test_the_exporters_line_says_what_was_seen_and_what_not(tmp_path, monkeypatch):
    network, path = tiny(tmp_path)
    monkeypatch.setenv("CC", COMPILERS[0])
    line = c.compare(path, network, N.some_images((1, 2, 2), 1100))
    assert line.startswith(f"{COMPILERS[0]} ")
    assert ": equal class scores on 1,100 of 1,100 images; with M_FLOAT they differ by 0.0e+00 at most, where" in line
    monkeypatch.setenv("CC", "no-such-compiler")
    assert c.compare(path, network, N.some_images((1, 2, 2))) == "not run here, since CC=no-such-compiler is not found"
    monkeypatch.setenv("CC", COMPILERS[0])
    path.write_text(path.read_text().replace("0.5f", "0.625f"))
    with pytest.raises(ConfigError, match="its class scores of image 0 differ"):
        c.compare(path, network, N.some_images((1, 2, 2)))
    path.write_text("int main")
    with pytest.raises(ConfigError, match="does not compile the header"):
        c.compare(path, network, N.some_images((1, 2, 2)))


def test_names_follow_from_the_file(tmp_path):
    names = ("m.h", "photos.h", "My Net-2.h", "3d.h", "_.h", "straße.h")
    expected = ["m_", "photos_", "my_net_2_", "m_3d_", "m_", "stra_e_"]
    assert [c.prefix_of(Path(name)) for name in names] == expected
    network, _ = tiny(tmp_path, name="3d.h")
    assert c.compare(tmp_path / "3d.h", network, N.some_images((1, 2, 2))).count("5 of 5 images")


def test_the_example_programs_run(tmp_path):
    """examples/predict_pgm.c, with class names that C would take for something else."""
    names = ['a "b" \\n', "ümlaut ??/ */ m_x 1"]
    tiny(tmp_path, names)
    source = HERE.parent.parent.parent / "examples" / "predict_pgm.c"
    files = {
        "good.pgm": b"P5\n# a comment\n2 2\n255\n" + bytes([200, 10, 30, 120]),
        "other.pgm": b"P5 3 2 255\n123456",
        "short.pgm": b"P5 2 2 255\n12",
        "colour.ppm": b"P6 2 2 255\n" + b"1" * 12,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    program = tmp_path / "predict"

    def run(*files):
        return subprocess.run([program, *files], capture_output=True, cwd=tmp_path)

    for compiler in COMPILERS:
        way = [compiler, "-std=c99", "-O1", *WARNINGS, *SANITIZERS, f"-I{tmp_path}", str(source), "-o", str(program), "-lm"]
        subprocess.run(way, check=True)
        done = run("good.pgm")
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == f"good.pgm: {names[0]} (score 1.375)\n"
        done = run("other.pgm", "short.pgm", "colour.ppm", "none.pgm", "good.pgm")
        assert done.returncode == 1
        assert done.stdout.decode().count("\n") == 1
        assert len(done.stderr.decode().splitlines()) == 4


@pytest.mark.parametrize("name", ["string.h", "STDIO.h", "size.c"])
def test_a_name_of_cs_own_headers_is_refused(tmp_path, name):
    packed = Packed((1, 1, 1), (Op("flatten", "f", (0,)),), {"classes": ["a"]})
    with pytest.raises(ConfigError, match="is a name of C's own headers"):
        c.write(packed, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_two_networks_with_one_name_are_an_error_of_the_compiler(tmp_path):
    if c_compare.compiler() is None:
        pytest.skip("needs a C compiler")
    for seed, name in enumerate(("net-1.h", "net_1.h")):
        torch.manual_seed(seed)
        c.write(packed_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2), tmp_path), tmp_path / name)
    for names, works in ((("net-1.h", "net_1.h"), False), (("net-1.h", "net-1.h"), True)):
        (tmp_path / "t.c").write_text("".join(f'#include "{name}"\n' for name in names) + "int main(void) { return 0; }\n")
        done = subprocess.run(
            [*c_compare.compiler(), "-I.", "t.c", "-o", "t"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == works
        assert works or "give one of the two files another name" in done.stderr
