"""Packed products: every engine that is installed against plain integer arithmetic."""

import itertools
import platform
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn_train.errors import ConfigError
from bnn_train.kernels import by_llvm, compiler, products
from bnn_train.kernels.products import BinaryProduct, ByteProduct

engines = pytest.mark.parametrize("engine", products.installed())
ENDS = np.iinfo(np.int32)


def signs(bits):
    return 2 * bits.astype(np.int64) - 1


def plain_hamming(x, weight, mask=None):
    """By signs, not by bits: (terms - sum of products) / 2."""
    kept = np.ones_like(weight) if mask is None else mask
    return (kept.sum(axis=1) - signs(x) @ (signs(weight) * kept).T) // 2


def some_limits(expected):
    """Just below, at and just above the first row's sums, and the ends of the range."""
    outputs = expected.shape[1]
    middle = expected[0] if len(expected) else np.zeros(outputs, np.int64)
    ends = [np.full(outputs, value) for value in (-1, ENDS.min, ENDS.max)]
    return [limits.astype(np.int32) for limits in (middle - 1, middle, middle + 1, *ends)]


def check_binary(engine, x, weight, mask=None):
    """x (M, K), weight and mask (O, K) of bits: distances, and what they compare to."""
    pack = lambda bits: np.packbits(bits, axis=1)  # noqa: E731
    product = BinaryProduct(pack(weight), None if mask is None else pack(mask), engine=engine)
    expected = plain_hamming(x, weight, mask)
    found = product.hamming(pack(x))
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)
    middle = expected[0] if len(expected) else np.zeros(len(weight), np.int64)
    for limits in (
        middle - 1,
        middle,
        middle + 1,
        np.full(len(weight), -1),
        np.full(len(weight), ENDS.min),
        np.full(len(weight), ENDS.max),
    ):
        limits = limits.astype(np.int32)
        bits = product.compare(pack(x), limits)
        assert bits.dtype == np.uint8
        assert np.array_equal(bits, np.packbits(expected <= limits, axis=1))


def check_bytes(engine, u, weight):
    product = ByteProduct(weight, engine=engine)
    expected = u.astype(np.int64) @ weight.astype(np.int64).T
    found = product.sums(u)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)
    for limits in some_limits(expected):
        assert np.array_equal(product.compare(u, limits), np.packbits(expected >= limits, axis=1))


@engines
@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_input_times_every_weight_and_mask_of_a_few_bits(engine, k):
    every = np.array(list(itertools.product([0, 1], repeat=k)), np.uint8)
    check_binary(engine, every, every)
    pairs = np.array(list(itertools.product(every, every)))
    check_binary(engine, every, pairs[:, 0], pairs[:, 1])


@engines
def test_every_byte_times_every_weight(engine):
    check_bytes(engine, np.arange(256, dtype=np.uint8)[:, None], np.array([[-1], [0], [1]], np.int8))
    ends = np.array(list(itertools.product([0, 1, 127, 128, 255], repeat=3)), np.uint8)
    check_bytes(engine, ends, np.array(list(itertools.product([-1, 0, 1], repeat=3)), np.int8))


SHAPES = st.tuples(st.integers(0, 20), st.integers(1, 40), st.integers(1, 300), st.booleans(), st.integers(0, 2**32 - 1))


@engines
@given(shape=SHAPES)
def test_any_shape_of_signs(engine, shape):
    rows, outputs, k, masked, seed = shape
    rng = np.random.default_rng(seed)
    bits = lambda *size: rng.integers(0, 2, size, np.uint8)  # noqa: E731
    check_binary(engine, bits(rows, k), bits(outputs, k), bits(outputs, k) if masked else None)


@engines
@given(shape=SHAPES)
def test_any_shape_of_bytes(engine, shape):
    rows, outputs, k, masked, seed = shape
    rng = np.random.default_rng(seed)
    weight = rng.integers(-1, 2, (outputs, k), np.int8) if masked else rng.choice(np.array([-1, 1], np.int8), (outputs, k))
    check_bytes(engine, rng.integers(0, 256, (rows, k), np.uint8), weight)


@engines
@pytest.mark.parametrize(
    ("rows", "outputs", "k"), [(1, 2048, 2048), (33, 2048, 784), (700, 130, 576), (5000, 16, 27), (9, 3, 9000)]
)
@pytest.mark.parametrize("masked", [False, True])
def test_shapes_of_real_layers(engine, rows, outputs, k, masked):
    rng = np.random.default_rng(k)
    bits = lambda *size: rng.integers(0, 2, size, np.uint8)  # noqa: E731
    check_binary(engine, bits(rows, k), bits(outputs, k), bits(outputs, k) if masked else None)
    check_bytes(engine, rng.integers(0, 256, (rows, k), np.uint8), rng.integers(-1, 2, (outputs, k), np.int8))


@engines
def test_extreme_sums_are_exact(engine):
    k = 70_000  # past what float32 holds
    u = np.full((9, k), 255, np.uint8)
    weight = np.stack([np.ones(k, np.int8), -np.ones(k, np.int8), np.zeros(k, np.int8)])
    weight[2, 0] = 1
    check_bytes(engine, u, weight)
    ones = np.ones((9, k), np.uint8)
    check_binary(engine, ones, np.stack([ones[0], 0 * ones[0]]))


@engines
def test_a_mask_hides_bits_that_pad_and_bits_that_are_set(engine):
    weight, mask = np.array([[0b1010_1010]], np.uint8), np.array([[0b1111_0000]], np.uint8)
    x = np.array([[0b1010_1111], [0b0101_0000]], np.uint8)
    assert BinaryProduct(weight, mask, engine=engine).hamming(x).tolist() == [[0], [4]]


@engines
def test_views_that_are_not_contiguous_count_as_their_copies(engine):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (12, 40), np.uint8)
    x, weight, limits = (
        wide[::2, ::2],
        rng.integers(0, 256, (20, 24), np.uint8).T[:16, :20],
        np.arange(32, dtype=np.int32)[::2] + 60,
    )
    product, same = BinaryProduct(weight, engine=engine), BinaryProduct(weight.copy(), engine=engine)
    assert np.array_equal(product.hamming(x), same.hamming(x.copy()))
    assert np.array_equal(product.compare(x, limits), same.compare(x.copy(), limits.copy()))
    signed = np.where(weight > 127, 1, -1).astype(np.int8)[:, ::-1]
    product, same = ByteProduct(signed, engine=engine), ByteProduct(signed.copy(), engine=engine)
    assert np.array_equal(product.sums(x), same.sums(x.copy()))
    assert np.array_equal(product.compare(x, limits), same.compare(x.copy(), limits.copy()))


@engines
def test_a_result_is_the_callers_own(engine):
    x = np.array([[1], [2], [3]], np.uint8)
    product = BinaryProduct(np.arange(16, dtype=np.uint8)[:, None], engine=engine)
    first, bits = product.hamming(x), product.compare(x, np.full(16, 2, np.int32))
    kept, kept_bits = first.copy(), bits.copy()
    product.hamming(~x)
    product.compare(~x, np.full(16, 2, np.int32))
    assert np.array_equal(first, kept)
    assert np.array_equal(bits, kept_bits)


@engines
def test_inputs_are_left_as_they_were_and_may_be_read_only(engine):
    u = np.arange(240, dtype=np.uint8).reshape(10, 24)
    u.flags.writeable = False
    weight = np.packbits(np.eye(24, 192, dtype=np.uint8), axis=1)
    weight.flags.writeable = False
    BinaryProduct(weight, engine=engine).compare(u, np.zeros(24, np.int32))
    ByteProduct((weight.view(np.int8) != 0).astype(np.int8), engine=engine).compare(u, np.zeros(24, np.int32))
    assert np.array_equal(u, np.arange(240, dtype=np.uint8).reshape(10, 24))


@engines
def test_threads_share_a_product(engine):
    rng = np.random.default_rng(1)
    weight, limits = rng.integers(0, 256, (130, 100), np.uint8), rng.integers(380, 420, 130).astype(np.int32)
    binary, real = BinaryProduct(weight, engine=engine), ByteProduct(np.where(weight > 99, 1, -1).astype(np.int8), engine=engine)
    batches = [rng.integers(0, 256, (1 + index % 7, 100), np.uint8) for index in range(200)]
    work = lambda x: (binary.compare(x, limits), binary.hamming(x), real.compare(x, limits), real.sums(x))  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, batches))
    for x, found in zip(batches, together, strict=True):
        for one, other in zip(found, work(x), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "x", [np.zeros((2, 3), np.uint8), np.zeros((2, 4), np.int8), np.zeros(4, np.uint8), np.zeros((1, 2, 4), np.uint8)]
)
def test_another_type_or_shape_is_refused(x):
    for call in (BinaryProduct(np.zeros((5, 4), np.uint8)).hamming, ByteProduct(np.ones((5, 4), np.int8)).sums):
        with pytest.raises(ValueError, match=r"uint8 of shape \(rows, 4\) is needed"):
            call(x)


@pytest.mark.parametrize("limits", [np.zeros(5, np.int64), np.zeros(4, np.int32), np.zeros((1, 5), np.int32)])
def test_limits_of_another_type_or_shape_are_refused(limits):
    for product in (BinaryProduct(np.zeros((5, 4), np.uint8)), ByteProduct(np.ones((5, 4), np.int8))):
        with pytest.raises(ValueError, match="limits are int32"):
            product.compare(np.zeros((1, 4), np.uint8), limits)


def test_a_mask_of_another_shape_and_weights_beyond_signs_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        BinaryProduct(np.zeros((5, 4), np.uint8), np.zeros((5, 3), np.uint8))
    with pytest.raises(ValueError, match="-1, 0"):
        ByteProduct(np.full((1, 1), 2, np.int8))


def test_an_unknown_engine_is_refused_with_the_names():
    with pytest.raises(ConfigError, match=r"engine=cuda: one of .*numpy"):
        BinaryProduct(np.zeros((1, 1), np.uint8), engine="cuda")


def test_numpy_alone_is_enough(monkeypatch):
    forget(monkeypatch, "numkong", "llvmlite", "llvmlite.binding")
    assert products.installed() == ["numpy"]
    rng = np.random.default_rng(2)
    check_binary(None, rng.integers(0, 2, (20, 99), np.uint8), rng.integers(0, 2, (9, 99), np.uint8))
    check_bytes(None, rng.integers(0, 256, (20, 99), np.uint8), rng.integers(-1, 2, (9, 99), np.int8))
    with pytest.raises(ConfigError, match="not installed here"):
        BinaryProduct(np.zeros((1, 1), np.uint8), engine="numkong")


def forget(monkeypatch, *modules):
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def random_product(engine=None):
    weight = np.random.default_rng(3).integers(0, 256, (9, 20), np.uint8)
    return BinaryProduct(weight, engine=engine), np.random.default_rng(4).integers(0, 256, (5, 20), np.uint8)


needs_llvm = pytest.mark.skipif("llvm" not in products.installed(), reason="no llvmlite")


@needs_llvm
def test_llvm_is_taken_when_as_much_was_spent_as_it_costs(monkeypatch):
    monkeypatch.setattr(products, "LLVM_IS_FASTER", True)
    monkeypatch.setattr(products, "_spent", 0.0)
    product, x = random_product()
    expected = product.hamming(x)
    assert set(product._made) <= {"numkong", "numpy"}
    monkeypatch.setattr(products, "_spent", products.LLVM_COST)
    assert np.array_equal(product.hamming(x), expected)
    assert type(product._final) is by_llvm.Binary


def test_llvm_that_cannot_be_loaded_is_asked_for_no_more_than_once(monkeypatch):
    forget(monkeypatch, "llvmlite", "llvmlite.binding")
    monkeypatch.setattr(products, "_spent", products.LLVM_COST)
    product, x = random_product()
    expected = product.hamming(x)
    assert product._final is not None
    monkeypatch.setattr(by_llvm, "available", None)
    assert np.array_equal(product.hamming(x), expected)


@needs_llvm
def test_an_llvm_that_may_not_compile_is_not_there(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no executable memory")

    monkeypatch.setattr(compiler, "compiled", refuse)
    by_llvm._works.cache_clear()
    try:
        assert "llvm" not in products.installed()
    finally:
        by_llvm._works.cache_clear()


@needs_llvm
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="code of x86-64")
@pytest.mark.parametrize("small_processor", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "alderlake"], indirect=True)
@pytest.mark.parametrize(("rows", "outputs", "k"), [(1, 40, 700), (9, 10, 27), (70, 33, 65), (6, 200, 99)])
@pytest.mark.parametrize("masked", [False, True])
def test_code_for_a_smaller_processor_is_exact_too(small_processor, rows, outputs, k, masked):
    rng = np.random.default_rng(k)
    bits = lambda *size: rng.integers(0, 2, size, np.uint8)  # noqa: E731
    check_binary("llvm", bits(rows, k), bits(outputs, k), bits(outputs, k) if masked else None)
    check_bytes("llvm", rng.integers(0, 256, (rows, k), np.uint8), rng.integers(-1, 2, (outputs, k), np.int8))


@needs_llvm
@pytest.mark.parametrize("small_processor", ["x86-64-v3", "x86-64-v4"], indirect=True)
def test_the_largest_counts_of_a_smaller_processor_are_exact(small_processor):
    for k in (8 * 31, 8 * 8191, 8 * 8192):  # a byte counts 31 bytes of differing bits, 16 bits count 8191
        ones = np.ones((4, k), np.uint8)
        check_binary("llvm", ones, np.repeat([[0], [1]], 5, axis=0).astype(np.uint8) * ones[:1])
    for k in (4 * 64, 4 * 64 + 1, 70_000):  # 16 bits add 64 times two bytes
        check_bytes("llvm", np.full((4, k), 255, np.uint8), np.stack([np.ones(k, np.int8), -np.ones(k, np.int8)]))


@needs_llvm
@pytest.mark.parametrize("masked", [False, True])
def test_bytes_by_their_bits_are_exact(monkeypatch, masked):
    monkeypatch.setattr(by_llvm, "byte_level", lambda _: None)
    rng = np.random.default_rng(5)
    for rows, outputs, k in ((1, 9, 1), (2, 16, 63), (3, 8, 64), (20, 5, 65), (2, 3, 784)):
        weight = rng.integers(-1 if masked else 0, 2, (outputs, k), np.int8)
        check_bytes("llvm", rng.integers(0, 256, (rows, k), np.uint8), weight if masked else 2 * weight - 1)
    check_bytes("llvm", np.arange(256, dtype=np.uint8)[:, None], np.array([[-1], [0], [1]], np.int8))
