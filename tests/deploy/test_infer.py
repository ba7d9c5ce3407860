import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from fuzz_networks import small_networks
from torch.nn import functional as F

from bnn_train.deploy import limits, reference
from bnn_train.deploy.infer import infer, result_of
from bnn_train.deploy.packed import Op, Packed, Unfit, Value

CONV = {"outputs": 1, "kernel": [2, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "pad_value": 0}
POOL = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "ceil": False}
BYTES, BITS, REAL = (Value(kind, (2, 4, 4)) for kind in ("bytes", "bits", "real"))
WHOLE = Value("whole", (2, 4, 4), 9)


@pytest.fixture
def networks():
    return small_networks()


def ones(rows, columns):
    """Weights of +1."""
    return np.packbits(np.ones((rows, columns), np.uint8), axis=1)


def floats(*shape):
    return np.ones(shape, np.float32)


def given(kind, x, settings=None, **tensors):
    """The result of one operation on a value."""
    return result_of(Op(kind, "name", (0,), settings or {}, tensors), [x])


def features(kind, size, largest=0):
    return Value(kind, (size,), largest)


def test_a_sum_of_signs_is_whole_and_no_larger_than_its_terms():
    assert given("linear", features("bits", 9), {"outputs": 3}, weight=ones(3, 9)) == Value("whole", (3,), 9)
    assert given("linear", features("bytes", 9), {"outputs": 3}, weight=ones(3, 9)) == Value("whole", (3,), 9 * 255)
    offset = np.array([1, -5, 2], np.int32)
    assert given("linear", features("bits", 9), {"outputs": 3}, weight=ones(3, 9), offset=offset) == Value("whole", (3,), 14)
    assert given("conv2d", BITS, CONV, weight=ones(1, 8)) == Value("whole", (1, 3, 3), 8)
    assert given("conv2d", BYTES, CONV, weight=ones(1, 8)) == Value("whole", (1, 3, 3), 8 * 255)


@pytest.mark.parametrize("x", [BYTES, BITS, WHOLE, REAL], ids=lambda value: value.kind)
def test_the_kind_of_a_product_follows_from_weight_and_input(x):
    assert given("conv2d", x, CONV, weight=floats(1, 8), bias=floats(1)).kind == "real"
    assert given("conv2d", x, CONV, weight=ones(1, 8)).kind == ("whole" if x.kind in ("bytes", "bits") else "real")


@pytest.mark.parametrize("x", [BITS, WHOLE, REAL], ids=lambda value: value.kind)
def test_kinds_go_through_what_moves_numbers_and_end_at_what_computes_with_them(x):
    slope = floats(2)
    assert given("max_pool", x, POOL) == x._replace(shape=(2, 2, 2))
    assert given("flatten", x) == x._replace(shape=(32,))
    assert given("slice", x, {"start": 1, "stop": 2}) == x._replace(shape=(1, 4, 4))
    padded = given("pad", x, {"rows": [1, 0], "columns": [2, 3], "pad_value": -1})
    assert padded == x._replace(shape=(2, 5, 9), largest=max(1, x.largest))
    several = {"affine": {"scale": slope, "shift": slope}, "prelu": {"slope": slope}, "clamp": {"limits": floats(2)}}
    for kind, tensors in {"relu": {}, "sigmoid": {}, **several}.items():
        assert given(kind, x, **tensors) == Value("real", x.shape)
    assert given("avg_pool", x, {**POOL, "count_padding": False}) == Value("real", (2, 2, 2))
    assert result_of(Op("concatenate", "name", (0, 0, 0)), [x]) == x._replace(shape=(6, 4, 4))


def test_two_values_are_combined_where_their_sizes_are_equal_or_one():
    column = Value("whole", (2, 4, 1))
    assert result_of(Op("add", "name", (0, 1)), [REAL, column]) == Value("real", (2, 4, 4))
    assert result_of(Op("multiply", "name", (1, 0)), [Value("bits", (1, 1, 4)), column]) == Value("real", (2, 4, 4))
    for other in ((2, 4, 2), (2, 4), (32,), (3, 4, 4)):
        with pytest.raises(Unfit, match="one shape"):
            result_of(Op("add", "name", (0, 1)), [REAL, Value("real", other)])


SMALL = range(1, 4)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_a_convolution_has_as_many_places_as_torchs(size):
    for kernel, stride, dilation, padding in itertools.product(SMALL, SMALL, (1, 2), range(3)):
        settings = {**CONV, "kernel": [kernel, 1], "stride": [stride, 1], "dilation": [dilation, 3], "padding": [padding, 0]}
        x = Value("bits", (1, size, 2))
        if size + 2 * padding < dilation * (kernel - 1) + 1:
            with pytest.raises(Unfit):
                given("conv2d", x, settings, weight=ones(1, kernel))
            continue
        found = given("conv2d", x, settings, weight=ones(1, kernel))
        options = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 3)}
        assert found.shape == F.conv2d(torch.zeros(1, 1, size, 2), torch.zeros(1, 1, kernel, 1), **options).shape[1:]


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_a_pool_has_as_many_places_as_torchs_and_none_without_a_pixel(size, ceil):
    for kernel, stride, padding in itertools.product(range(1, 5), range(1, 5), range(3)):
        settings = {"kernel": [1, kernel], "stride": [1, stride], "padding": [0, padding], "ceil": ceil}
        x = Value("real", (1, 2, size))
        try:
            expected = F.max_pool2d(torch.zeros(1, 1, 2, size), (1, kernel), (1, stride), (0, padding), ceil_mode=ceil).shape[1:]
        except RuntimeError:
            with pytest.raises(Unfit):
                given("max_pool", x, settings)
            continue
        assert given("max_pool", x, settings).shape == expected
        assert all(place * stride - padding < size for place in range(expected[2]))
        assert given("avg_pool", x, {**settings, "count_padding": True}).shape == expected


def changed(packed, name, inputs=None, **changes):
    """With other settings or tensors of the operation of that name; None takes one away."""
    ops = []
    for op in packed.ops:
        if op.name == name:
            settings, tensors = dict(op.settings), dict(op.tensors)
            for key, value in changes.items():
                held = tensors if key in tensors or isinstance(value, np.ndarray) else settings
                held[key] = value
                if value is None:
                    del held[key]
            op = replace(op, settings=settings, tensors=tensors, inputs=op.inputs if inputs is None else inputs)
        ops.append(op)
    return replace(packed, ops=tuple(ops))


MLP, CNN, REST = range(3)
WRONG = {
    "an input that comes later": (MLP, "linear1", {"inputs": (2,)}, "not there yet"),
    "itself as input": (MLP, "linear1", {"inputs": (3,)}, "not there yet"),
    "a negative input": (MLP, "linear1", {"inputs": (-1,)}, "not there yet"),
    "true as input": (MLP, "linear1", {"inputs": (True,)}, "not there yet"),
    "no input": (MLP, "linear1", {"inputs": ()}, "takes 0 values"),
    "a concatenation of nothing": (REST, "cat", {"inputs": ()}, "takes 0 values"),
    "an input too many": (MLP, "linear1", {"inputs": (1, 1)}, "takes 2 values"),
    "an image for a linear layer": (MLP, "linear1", {"inputs": (0,)}, "flatten it first"),
    "no weight": (MLP, "linear1", {"weight": None}, "lacks weight"),
    "a weight of another shape": (MLP, "linear1", {"weight": ones(10, 17)}, "of shape"),
    "a weight of another type": (MLP, "linear1", {"weight": np.ones((10, 2), np.int32)}, "weight must be"),
    "bits behind the end of a row": (MLP, "linear1", {"weight": np.full((10, 2), 0xFF, np.uint8)}, "behind the end"),
    "a weight that its mask prunes": (MLP, "linear2", {"mask": np.zeros((3, 2), np.uint8)}, "its mask prunes"),
    "a bias of a whole sum": (MLP, "linear1", {"bias": floats(10)}, "no bias"),
    "an offset of a real sum": (CNN, "output", {"offset": np.ones(2, np.int32)}, "no offset"),
    "a mask of real weights": (CNN, "output", {"mask": ones(2, 6)}, "takes no 'mask'"),
    "an unknown tensor": (MLP, "norm", {"power": floats(3)}, "takes no 'power'"),
    "an unknown setting": (MLP, "norm", {"power": 3}, "takes no 'power'"),
    "a setting without a name": (MLP, "norm", {"": 3}, "takes no ''"),
    "a sum beyond 2^29": (MLP, "linear2", {"offset": np.array([0, -(2**31), 0], np.int32)}, "beyond"),
    "no number of outputs": (MLP, "linear1", {"outputs": None}, "outputs must be"),
    "a fraction of outputs": (MLP, "linear1", {"outputs": 10.0}, "outputs must be"),
    "true outputs": (MLP, "linear1", {"outputs": True}, "outputs must be"),
    "no outputs": (MLP, "linear1", {"outputs": 0}, "outputs must be"),
    "a NaN": (MLP, "norm", {"scale": np.array([1, np.nan, 1], np.float32)}, "no number"),
    "an infinite scale": (MLP, "norm", {"scale": np.array([1, np.inf, 1], np.float32)}, "infinite"),
    "a real threshold of whole sums": (MLP, "sign1", {"threshold": floats(10)}, "threshold must be"),
    "a whole threshold of real numbers": (CNN, "sign1", {"threshold": np.ones(4, np.int32)}, "threshold must be"),
    "a NaN as a threshold": (CNN, "sign1", {"threshold": np.full(4, np.nan, np.float32)}, "no number"),
    "flips of another number of channels": (MLP, "sign1", {"flip": ones(1, 9)[:, :1]}, "flip must be"),
    "a sign of signs": (MLP, "sign1", {"inputs": (0,)}, "takes numbers, not bytes"),
    "a kernel larger than the image": (CNN, "dilated", {"padding": [0, 0], "dilation": [9, 9]}, "numbers an image"),
    "a kernel of no size": (CNN, "binary", {"kernel": [0, 3]}, "kernel must be"),
    "a kernel of one number": (CNN, "binary", {"kernel": [9]}, "kernel must be"),
    "a kernel of words": (CNN, "binary", {"kernel": "33"}, "kernel must be"),
    "a stride of fractions": (CNN, "binary", {"stride": [1.0, 1.0]}, "stride must be"),
    "a padding below 0": (CNN, "binary", {"padding": [-1, 1]}, "padding must be"),
    "a padding beyond all bounds": (CNN, "binary", {"padding": [10**12, 1]}, "padding must be"),
    "a pad value of 2": (CNN, "binary", {"pad_value": 2}, "pad_value must be"),
    "groups that do not divide": (CNN, "binary", {"groups": 3}, "groups"),
    "padded pixels": (REST, "pixels", {"padding": [1, 1]}, "pixels cannot be padded"),
    "half of a kernel and more as a pool's padding": (CNN, "pool", {"padding": [2, 1]}, "more than half"),
    "a pool larger than its image": (CNN, "mean", {"kernel": [9, 9]}, "larger than its image"),
    "a pool that rounds by a number": (CNN, "pool", {"ceil": 1}, "ceil must be"),
    "a mean that does not say what it counts": (CNN, "mean", {"count_padding": None}, "count_padding must be"),
    "limits the wrong way round": (REST, "clamp", {"limits": np.array([1, -1], np.float32)}, "the lower and the upper"),
    "one limit": (REST, "clamp", {"limits": floats(1)}, "limits must be"),
    "an infinite limit": (REST, "clamp", {"limits": np.array([0, np.inf], np.float32)}, "infinite"),
    "bits padded with 0": (REST, "pad", {"pad_value": 0}, "cannot be padded"),
    "a slice of nothing": (REST, "slice", {"stop": 1}, "stop must be"),
    "a slice behind the end": (REST, "slice", {"stop": 5}, "stop must be"),
    "values of two kinds in one": (REST, "cat", {"inputs": (4, 1)}, "one kind"),
    "scores that are an image": (REST, "flatten", {"inputs": (0,)}, "class scores"),
    "a table of few pixels": (CNN, "normalise", {"table": floats(2, 255)}, "table must be"),
    "a normalised sum": (CNN, "normalise", {"inputs": (7,)}, "not there yet"),
}  # fmt: skip


@pytest.mark.parametrize(("which", "name", "changes", "message"), WRONG.values(), ids=WRONG)
def test_what_contradicts_itself_is_refused_by_its_name(networks, which, name, changes, message):
    with pytest.raises(Unfit, match=message) as error:
        infer(changed(networks[which], name, **changes))
    assert name in str(error.value) or message == "class scores"


SHAPES = [(1, 2), (1, 2, 2, 1), (0, 2, 2), (-1, -2, 2), (1.0, 2, 2), (True, 2, 2), ("1", 2, 2), (2**30, 2**30, 2**30)]


@pytest.mark.parametrize("shape", SHAPES)
def test_images_have_three_sizes(networks, shape):
    with pytest.raises(Unfit):
        infer(replace(networks[MLP], image_shape=shape))


def test_a_kind_that_is_newer_than_this_program_is_refused_by_its_name(networks):
    with pytest.raises(Unfit, match=r"operation 5 \('exp', 'layer'\): is no known operation"):
        infer(replace(networks[MLP], ops=(*networks[MLP].ops, Op("exp", "layer", (5,)))))


def test_names_can_neither_fill_nor_steer_a_terminal(networks):
    for kind, name in (("relu", "x" * 1001), ("\x1b[2J\n", "name"), ("exec", "\n" * 500)):
        ops = (*networks[MLP].ops, Op(kind, name, (5,)))
        with pytest.raises(Unfit) as error:
            infer(replace(networks[MLP], ops=ops))
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 400


def head(before, size):
    """Two operations that make a class score of the last value."""
    return (Op("flatten", "flatten", (before,)), Op("linear", "head", (before + 1,), {"outputs": 1}, {"weight": floats(1, size)}))


def flattened(count):
    """A network of so many operations."""
    ops = [Op("flatten", "flatten", (i,)) for i in range(count - 1)]
    return Packed((1, 1, 1), (*ops, Op("linear", "head", (count - 1,), {"outputs": 1}, {"weight": ones(1, 1)})))


def test_operations_have_a_limit():
    assert len(infer(flattened(limits.MOST_OPERATIONS))) == limits.MOST_OPERATIONS + 1
    with pytest.raises(Unfit, match="operations"):
        infer(flattened(limits.MOST_OPERATIONS + 1))
    with pytest.raises(Unfit, match="operations"):
        infer(Packed((1, 1, 1), ()))


LARGE = {
    "a padding around a large image": ({"padding": [4096, 4096], "stride": [4096, 4096]}, "kernel or a padding"),
    "a large kernel at every place": ({"kernel": [512, 512]}, "kernel or a padding"),
    "a large padding at every place": ({"padding": [4096, 4096]}, "numbers an image"),
}


@pytest.mark.parametrize(("settings", "message"), LARGE.values(), ids=LARGE)
def test_a_small_file_cannot_ask_for_a_large_memory(settings, message):
    settings = {**CONV, **settings}
    ops = (
        Op("normalise", "normalise", (0,), {}, {"table": floats(1, 256)}),
        Op("conv2d", "conv", (1,), settings, {"weight": ones(1, settings["kernel"][0] * settings["kernel"][1])}),
        Op("avg_pool", "mean", (2,), {**POOL, "kernel": [1, 1], "stride": [4096, 4096], "count_padding": False}),
        *head(3, 1),
    )
    with pytest.raises(Unfit, match=message):
        infer(Packed((1, 1024, 1024), ops))


MEAN = {**POOL, "kernel": [1, 1], "stride": [4096, 4096], "count_padding": False}


@pytest.mark.parametrize("count", [250, 260])
def test_all_values_together_have_a_limit(count):
    relus = [Op("relu", "relu", (i,)) for i in range(1, count)]
    table = Op("normalise", "normalise", (0,), {}, {"table": floats(1, 256)})
    packed = Packed((1, 1024, 1024), (table, *relus, Op("avg_pool", "mean", (count,), MEAN), *head(count + 1, 1)))
    if count < 256:
        assert sum(value.size for value in infer(packed)) > 2**27
    else:
        with pytest.raises(Unfit, match="numbers of an image"):
            infer(packed)


@pytest.mark.parametrize("count", [1, 3])
def test_all_products_together_have_a_limit(count):
    conv = {**CONV, "kernel": [64, 64], "outputs": 512}  # at 256 places in 256 rows: 2^37 products
    convs = [Op("conv2d", "conv", (0,), conv, {"weight": ones(512, 2**12)}) for _ in range(count)]
    packed = Packed((1, 319, 319), (*convs, Op("avg_pool", "mean", (1,), MEAN), *head(count + 1, 512)))
    if count == 1:
        infer(packed)
    else:
        with pytest.raises(Unfit, match="products"):
            infer(packed)


def test_what_is_allowed_is_what_the_reference_computes(networks):
    for packed in networks:
        image = np.zeros((2, *packed.image_shape), np.uint8)
        for value, known in zip(reference.run(packed, image), infer(packed), strict=True):
            assert value.shape == (2, *known.shape)
