"""The C header, operation by operation: every kind of value, geometries that no network has, sums between two floats."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.writers import c, c_compare


def _cases():
    """test_c.py beside this file, which is in no package."""
    spec = importlib.util.spec_from_file_location("cases", Path(__file__).with_name("test_c.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


C = _cases()
N, assert_equal, square = C.N, C.assert_equal, C.square
pytestmark = C.pytestmark


class Checks:
    """What tests/deploy/test_independent_reader.py gives its reader: all of it together becomes one network, which is compared."""

    def __init__(self, folder, together=40):
        self.folder, self.together, self.waiting, self.done = folder, together, [], 0

    def add(self, packed):
        self.waiting.append(packed)
        if len(self.waiting) == self.together or packed.image_shape != self.waiting[0].image_shape:
            self.compare()

    def compare(self):
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        ops, ends = [], []
        for packed in waiting:
            start = len(ops)
            inputs = lambda op, start=start: tuple(k and k + start for k in op.inputs)  # noqa: E731
            ops += [Op(op.kind, op.name, inputs(op), op.settings, op.tensors) for op in packed.ops]
            ends.append(len(ops))
        ops.append(Op("concatenate", "all", tuple(ends)))
        classes = sum(len(packed.about["classes"]) for packed in waiting)
        merged = Packed(waiting[0].image_shape, tuple(ops), {"classes": [str(i) for i in range(classes)]})
        assert_equal(self.folder, merged)
        self.done += len(waiting)


@pytest.fixture
def checks(tmp_path, monkeypatch):
    checks = Checks(tmp_path)
    monkeypatch.setattr(N, "check", lambda reader, path, packed: checks.add(packed))
    return checks


@pytest.mark.slow
@pytest.mark.parametrize("weight", ["binary", "masked", "real"])
@pytest.mark.parametrize("kind", N.KINDS)
def test_convolutions_of_every_kind_and_geometry(checks, tmp_path, kind, weight):
    N.test_convolutions_of_every_kind_and_geometry(None, tmp_path, kind, weight)
    checks.compare()
    assert checks.done == (12 if kind == "bytes" else 36)


@pytest.mark.slow
@pytest.mark.parametrize("kind", N.KINDS[1:])
def test_pools_of_every_kind_and_geometry(checks, tmp_path, kind):
    N.test_pools_of_every_kind_and_geometry(None, tmp_path, kind)
    checks.compare()
    assert checks.done > 50


@pytest.mark.parametrize("kind", ["bits", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("whole", "real"))])
def test_elementwise_operations_on_every_kind(checks, tmp_path, kind):
    N.test_elementwise_operations_on_every_kind(None, tmp_path, kind)
    checks.compare()
    assert checks.done == 9


def test_sums_that_lie_between_two_floats(checks, tmp_path):
    """2^24 + 1 + 2^-25 and its like, in rows of a layer, in a mean, and with sums that go below 0."""
    one = np.ones((1, 256), np.float32)
    large, least = 2**24, 2**-149
    rows = [[large, 1, 2**-25], [large, 1, 2**-60], [large, 1, 0], [2**60, 1, -(2**60)], [least, -(2.0**127), least], [0, 0, 0]]
    rows += [[2**-130, least, -(2**-126)], [1, 2**-24, least], [1, 2**-24, -least], [large, 1, 2**-29]]
    rows = np.array(rows, np.float32)
    rows = np.concatenate([rows, -rows])
    normalise, flat = Op("normalise", "n", (0,), {}, {"table": one}), Op("flatten", "f", (1,))
    head = Op("linear", "h", (3,), {"outputs": len(rows)}, {"weight": rows})
    packed = Packed((1, 1, 1), (normalise, flat, Op("concatenate", "c", (2, 2, 2)), head), {"classes": ["a"] * len(rows)})
    _, _, scores = assert_equal(tmp_path, packed)
    assert scores[0, :4].tolist() == [2**24 + 2, 2**24, 2**24, 1]

    numbers = np.array([0, 2**24, 1, 2**-25, -(2**24), -1, 2**-60, 1e-45, -3e38, 3e38], np.float32)
    table = np.resize(numbers, 256)[None]
    settings = {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "ceil": False, "count_padding": False}
    pool = Op("avg_pool", "p", (1,), settings)
    mean = Packed((1, 6, 6), (Op("normalise", "n", (0,), {}, {"table": table}), pool, Op("flatten", "f", (2,))))
    assert_equal(tmp_path, Packed(mean.image_shape, mean.ops, {"classes": ["a"] * 36}), count=40)


@pytest.mark.parametrize("kind", ["whole", "real", "tiny"])
def test_random_sums_of_numbers_that_differ_in_size(tmp_path, kind):
    """Many of them cancel, so that what double rounds away decides; products down to 2^-298."""
    rng = np.random.default_rng(0)

    def numbers(*shape):
        exponents = rng.integers(-60, 60, shape)
        if kind == "tiny":  # some of them denormal
            exponents = np.where(rng.random(shape) < 0.5, exponents, rng.integers(-148, -140, shape))
        return (rng.normal(0, 1, shape) * 2.0**exponents).astype(np.float32)

    table = numbers(2, 256)
    start = Op("normalise", "n", (0,), {}, {"table": table})
    if kind == "whole":
        start = Op("conv2d", "w", (0,), square(2), {"weight": np.array([[0x80], [0xC0]], np.uint8)})
    weight = numbers(40, 24)
    weight[:, 12:] = -weight[:, :12]
    head = Op("linear", "h", (2,), {"outputs": 40}, {"weight": weight, "bias": weight[:, 0].copy()})
    ops = (start, Op("flatten", "f", (1,)), head)
    assert_equal(tmp_path, Packed((2, 3, 4), ops, {"classes": ["a"] * 40}), count=50)


def test_infinities_do_no_harm(tmp_path):
    large = Op("normalise", "n", (0,), {}, {"table": np.full((1, 256), 3e38, np.float32)})
    grow = Op("linear", "g", (2,), {"outputs": 2}, {"weight": np.array([[1, 1], [-1, -1]], np.float32)})
    lose = Op("linear", "l", (3,), {"outputs": 2}, {"weight": np.array([[1, 1], [1, 0]], np.float32)})
    packed = Packed((1, 1, 2), (large, Op("flatten", "f", (1,)), grow, lose), {"classes": ["a", "b"]})
    c.write(packed, tmp_path / "m.h")
    found = c_compare.scores(tmp_path / "m.h", packed, N.some_images((1, 1, 2)), [C.COMPILERS[0], *C.WARNINGS, *C.SANITIZERS])
    assert not np.isfinite(found).any()


@pytest.mark.slow
def test_signs_of_whole_and_of_real_numbers(tmp_path):
    """At a threshold that there is; always and never; both ways round; drawn at once, apart, and before a pool."""
    for kind, types in (("whole", np.int16), ("whole", np.int32), ("real", np.float32)):
        for flip in (0x00, 0xA0):
            shape, ops = N.start(np.random.default_rng(4), kind)
            limits = [0.5, -1, np.inf, -np.inf] if kind == "real" else [40, -200, 32767, -32768]
            tensors = {"threshold": np.array(limits).astype(types), "flip": np.array([[flip]], np.uint8)}
            last = len(ops)
            pool = Op("max_pool", "p", (last,), {"kernel": [2, 2], "stride": [2, 2], "padding": [1, 1], "ceil": True})
            ops = (*ops, Op("sign", "s", (last,), {}, tensors), pool, Op("sign", "t", (last + 2,), {}, tensors))
            assert_equal(tmp_path, N.with_scores(shape, ops, 4 * 3 * 4))
