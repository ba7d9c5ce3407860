"""docs/format.md says what exported networks compute: a reader that was written from that page alone gives the runner's scores."""

import ast
import importlib.util
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import device, models
from bnn_train.binary.layers import BinaryConv2d, BinaryLayer, BinaryLinear
from bnn_train.deploy import file
from bnn_train.deploy.packed import Op, Packed, packed_bits
from bnn_train.deploy.packing.pack import pack
from bnn_train.deploy.runner import load

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "format.md"
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


@pytest.fixture(scope="module")
def reader():
    """tests/deploy/independent_reader.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("independent_reader", HERE / "independent_reader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def some_images(shape, count=5):
    """Noise, from image to image brighter: a mean of it says something too."""
    noise = np.random.default_rng(0).integers(0, 256, (count, *shape))
    return (noise * np.linspace(0.2, 1, count)[:, None, None, None]).astype(np.uint8)


def filled(model, shape):
    """Its BatchNorms as after a training: running statistics of images, scales of both signs and one of 0."""
    g = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.weight.data.normal_(1, 1, generator=g)[0] = 0
            module.bias.data.normal_(0, 0.3, generator=g)
    with torch.no_grad():
        model.train()(torch.from_numpy(some_images(shape, 20)) / 255 * 4 - 2)
    return model.eval()


def exported(model, shape, path):
    """The model in a file."""
    channels = shape[0]
    with torch.no_grad():
        classes = model(torch.zeros(2, *shape)).shape[1]
    packed = pack(model, shape, MEAN[:channels], STD[:channels], {"classes": [str(c) for c in range(classes)]})
    file.write(packed, path)
    return packed


def equal_scores(reader, path):
    """The scores of some images: the same bit for bit (0 and -0 are one number) of the reader and of the runner."""
    network = load(path, threads=1)
    images = some_images(network.image_shape)
    found = reader.scores(path, images)
    assert found.dtype == np.float32
    assert found.shape == (len(images), len(network.classes))
    assert np.isfinite(found).all()
    assert np.array_equal(network.logits(images), found)
    return found


def assert_varied(scores):
    """They are not equal because they are the same whatever the image is. (The first may be: see filled.)"""
    assert np.ptp(scores, axis=0)[1:].all()


CNN = ("model=cnn", "model.stages=[[8,8],[12]]", "model.hidden=[16]")
NETWORKS = [
    (("model=mlp", "model.hidden=[20,12]"), (1, 6, 7)),
    (("model=mlp", "model.hidden=[20,12]", "model.binarize_output=true"), (1, 6, 7)),
    (("model=mlp", "model.hidden=[20,12]", "model.binarize_input=true", "model.binarize_output=true"), (1, 6, 7)),
    (("model=mlp", "model.hidden=[20,12]", "weights=real"), (1, 6, 7)),
    (("model=mlp", "model.hidden=[20,12]", "ste=none"), (1, 6, 7)),
    *(((*CNN, f"model.pad_value={pad}"), (3, 9, 8)) for pad in (0, 1, -1)),
    ((*CNN, "model.head=average"), (3, 9, 8)),
    ((*CNN, "block=bireal"), (3, 9, 8)),
    ((*CNN, "ste=none"), (3, 9, 8)),
    ((*CNN, "ste=none", "ste.activation=tanh"), (3, 9, 8)),
    *(((*CNN, "ste=clipped", f"weights.scaling={scaling}"), (3, 9, 8)) for scaling in ("mean", "power_of_two", "learned")),
    (("model=resnet20",), (3, 8, 8)),
    (("model=resnet20", "model.downsample=pool"), (3, 8, 8)),
    *(((*CNN, f"block={block}"), (3, 9, 8)) for block in ("recu", "reactnet")),
]


@pytest.mark.parametrize(("overrides", "shape"), NETWORKS, ids=lambda x: " ".join(x) if isinstance(x[0], str) else "")
def test_the_reader_gives_the_scores_of_networks_of_the_product(reader, compose, tmp_path, overrides, shape):
    device.make_reproducible(0)
    exported(filled(models.build(compose(*overrides), shape, 10), shape), shape, tmp_path / "m.bnn")
    assert_varied(equal_scores(reader, tmp_path / "m.bnn"))


@pytest.mark.parametrize(("share", "kept"), [(0.3, "mask"), (0.95, "gaps")])
@pytest.mark.parametrize("overrides", [("model=mlp", "model.hidden=[20,12]"), (*CNN, "model.pad_value=0")], ids=["mlp", "cnn"])
def test_the_reader_leaves_out_pruned_edges(reader, compose, tmp_path, overrides, share, kept):
    device.make_reproducible(0)
    model = filled(models.build(compose(*overrides), (3, 8, 8), 10), (3, 8, 8))
    for layer in model.modules():
        if isinstance(layer, BinaryLayer):
            layer.prune(torch.rand_like(layer.weight) < share)
    packed = exported(model, (3, 8, 8), tmp_path / "m.bnn")
    assert any(kept in op.tensors for op in file.stored(packed))
    scores = equal_scores(reader, tmp_path / "m.bnn")
    if kept == "mask":
        assert_varied(scores)


class Own(nn.Module):
    """Groups, dilation, both kinds of padding, pools of all sorts, two branches put together, cut and gated."""

    def __init__(self, gate):
        super().__init__()
        self.first = BinaryConv2d(3, 8, 3, estimator=None, padding=0)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = BinaryConv2d(8, 12, (3, 2), groups=4, padding=(2, 1), dilation=(2, 1), stride=(1, 2))
        self.second = nn.BatchNorm2d(12)
        self.real = nn.Conv2d(8, 6, 3, groups=2, padding=(1, 2), stride=(1, 2))
        self.prelu = nn.PReLU(6, init=-0.25)
        self.around = nn.ConstantPad2d((1, 0, 0, 2), 1.0)
        self.max = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.average = nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=gate is None)
        self.gate = gate
        self.head = BinaryLinear(14, 5, estimator=None, bias=True)
        self.last = nn.Linear(5, 4)

    def forward(self, x):
        x = self.norm(self.first(x))
        y = torch.cat([self.second(self.grouped(x)), self.prelu(self.real(x))], dim=1)
        y = y[:, 2:16] + y[:, :14]
        y = self.average(self.max(self.around(y)))
        gate = y.mean((2, 3), keepdim=True)
        y = y * (gate if self.gate is None else self.gate(gate))
        return self.last(torch.relu(self.head(y.mean((2, 3)))))


def test_the_reader_gives_the_scores_of_an_own_network(reader, tmp_path):
    torch.manual_seed(0)
    exported(filled(Own(None), (3, 9, 10)), (3, 9, 10), tmp_path / "m.bnn")
    assert_varied(equal_scores(reader, tmp_path / "m.bnn"))


def test_the_reader_gives_the_scores_of_a_gate_to_the_last_bits(reader, tmp_path):
    torch.manual_seed(0)
    packed = exported(filled(Own(nn.Sigmoid()), (3, 9, 10)), (3, 9, 10), tmp_path / "m.bnn")
    assert "sigmoid" in {op.kind for op in packed.ops}
    images = some_images((3, 9, 10))
    found, expected = reader.scores(tmp_path / "m.bnn", images), load(tmp_path / "m.bnn", threads=1).logits(images)
    assert_varied(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# Operations one by one, on every kind of value, with geometries that no network of the product has.


def bits_of(rng, outputs, k):
    return packed_bits(rng.integers(0, 2, (outputs, k)))


def start(rng, kind):
    """(image shape, operations that make a value of this kind, (4, 5, 6), of an image)."""
    shape = (4, 5, 6)
    normalise = Op("normalise", "n", (0,), {}, {"table": rng.normal(0, 1, (4, 256)).astype(np.float32)})
    square = {"outputs": 4, "kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "pad_value": 0}
    offset = rng.integers(-300, 300, 4).astype(np.int32)
    ops = {
        "bytes": (),
        "bits": (
            normalise,
            Op("sign", "s", (1,), {}, {"threshold": np.zeros(4, np.float32), "flip": np.array([[0x40]], np.uint8)}),
        ),
        "whole": (Op("conv2d", "w", (0,), square, {"weight": bits_of(rng, 4, 4), "offset": offset}),),
        "real": (normalise,),
    }[kind]
    return shape, ops


def with_scores(shape, ops, classes):
    """`classes` numbers of the last operation are the scores; bits are none, hence the affine."""
    one = {"scale": np.ones(classes, np.float32), "shift": np.zeros(classes, np.float32)}
    ops = (*ops, Op("flatten", "f", (len(ops),)), Op("affine", "o", (len(ops) + 1,), {}, one))
    return Packed(shape, ops, {"classes": [str(c) for c in range(classes)]})


def check(reader, path, packed):
    path.write_bytes(file.encode(packed))
    equal_scores(reader, path)


KINDS = ("bytes", "bits", "whole", "real")


@pytest.mark.parametrize("weight", ["binary", "masked", "real"])
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_of_every_kind_and_geometry(reader, tmp_path, kind, weight):
    rng = np.random.default_rng(1)
    for stride, dilation, groups, pad_value in itertools.product(([1, 1], [3, 2]), ([1, 1], [1, 2]), (1, 2, 4), (-1, 0, 1)):
        shape, ops = start(rng, kind)
        padding = [0, 0] if kind == "bytes" else [1, 3]
        if kind == "bytes" and pad_value:
            continue
        k, outputs = 4 // groups * 2 * 3, 8
        settings = {"outputs": outputs, "kernel": [2, 3], "stride": stride, "padding": padding, "dilation": dilation}
        tensors = {"weight": bits_of(rng, outputs, k)}
        if weight == "masked":
            tensors["mask"] = bits_of(rng, outputs, k)
            tensors["weight"] &= tensors["mask"]
        if weight == "real":
            tensors["weight"] = rng.normal(0, 1, (outputs, k)).astype(np.float32)
        if weight != "real" and kind in ("bytes", "bits"):
            tensors["offset"] = rng.integers(-9, 9, outputs).astype(np.int32)
        else:
            tensors["bias"] = rng.normal(0, 1, outputs).astype(np.float32)
        ops = (*ops, Op("conv2d", "c", (len(ops),), {**settings, "groups": groups, "pad_value": pad_value}, tensors))
        rows = (5 + 2 * padding[0] - dilation[0] - 1) // stride[0] + 1
        columns = (6 + 2 * padding[1] - 2 * dilation[1] - 1) // stride[1] + 1
        check(reader, tmp_path / "m.bnn", with_scores(shape, ops, outputs * rows * columns))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_pools_of_every_kind_and_geometry(reader, tmp_path, kind):
    """Where a last window of `ceil` ends behind the padding, where it is left out, and where it is larger than the image."""
    rng = np.random.default_rng(2)
    for (kernel, padding), stride, ceil in itertools.product(((3, 0), (3, 1), (2, 1), (4, 2), (6, 0)), (1, 2, 3, 5), (False, True)):
        if kernel > 5 and not (ceil and stride > 1):
            continue  # no place at all
        for more in (None, False, True):
            shape, ops = start(rng, kind)
            settings = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": [padding] * 2, "ceil": ceil}
            count = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)(torch.zeros(1, *shape)).numel()
            pool = ("max_pool", settings) if more is None else ("avg_pool", {**settings, "count_padding": more})
            check(reader, tmp_path / "m.bnn", with_scores(shape, (*ops, Op(pool[0], "p", (len(ops),), pool[1])), count))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_elementwise_operations_on_every_kind(reader, tmp_path, kind):
    rng = np.random.default_rng(3)
    numbers = lambda: rng.normal(0, 1, 4).astype(np.float32)  # noqa: E731
    shape, ops = start(rng, kind)
    last = len(ops)
    row = {"kernel": [1, 6], "stride": [1, 6], "padding": [0, 0], "ceil": False, "count_padding": False}
    column = Op("avg_pool", "p", (last,), row)
    for more, count in (
        ((Op("affine", "a", (last,), {}, {"scale": numbers(), "shift": numbers()}),), 120),
        ((Op("relu", "a", (last,)),), 120),
        ((Op("prelu", "a", (last,), {}, {"slope": numbers()}),), 120),
        ((Op("clamp", "a", (last,), {}, {"limits": np.array([-0.7, 0.9], np.float32)}),), 120),
        ((Op("slice", "a", (last,), {"start": 1, "stop": 3}),), 60),
        ((Op("concatenate", "a", (last, last)),), 240),
        ((Op("pad", "a", (last,), {"rows": [0, 2], "columns": [1, 0], "pad_value": -1}),), 196),
        ((column, Op("add", "a", (last, last + 1))), 120),
        ((column, Op("multiply", "a", (last + 1, last))), 120),
    ):
        check(reader, tmp_path / "m.bnn", with_scores(shape, (*ops, *more), count))


def test_signs_of_whole_and_of_real_numbers(reader, tmp_path):
    """At a threshold that there is, below and above; always and never; both ways round."""
    path, images = tmp_path / "m.bnn", some_images((4, 5, 6))
    for kind, types in (("whole", np.int16), ("whole", np.int32), ("real", np.float32)):
        for flip in (0x00, 0xA0, 0xF0):
            shape, ops = start(np.random.default_rng(4), kind)
            path.write_bytes(file.encode(with_scores(shape, ops, 120)))
            numbers = reader.scores(path, images)[0].reshape(4, 30)[:, 7]  # one of the first image in each channel
            numbers[2:] = (np.inf, -np.inf) if kind == "real" else (32767, -32768)
            tensors = {"threshold": numbers.astype(types), "flip": np.array([[flip]], np.uint8)}
            check(reader, path, with_scores(shape, (*ops, Op("sign", "s", (len(ops),), {}, tensors)), 120))
            found = reader.scores(path, images)[0].reshape(4, 30)[:, 7]
            assert found.tolist() == [
                -1 if bool(flip & bit) == at else 1 for bit, at in zip((128, 64, 32, 16), (1, 1, 0, 1), strict=True)
            ]


def test_a_real_sum_is_rounded_to_float64_and_then_to_float32(reader, tmp_path):
    """2^24 + 1 + 2^-25 is a float64, and nearest 2^24 + 2. With 2^-60 instead the nearest float64 is 2^24 + 1, which lies in the
    middle of two float32: the even one, 2^24, is taken."""
    one = np.ones((1, 256), np.float32)
    normalise = Op("normalise", "n", (0,), {}, {"table": one})
    flat = Op("flatten", "f", (1,))
    rows = np.array([[2**24, 1, 2**-25], [2**24, 1, 2**-60], [2**24, 1, 0], [2**60, 1, -(2**60)]], np.float32)
    head = Op("linear", "h", (3,), {"outputs": 4}, {"weight": rows})
    three = Op("concatenate", "c", (2, 2, 2))
    packed = Packed((1, 1, 1), (normalise, flat, three, head), {"classes": list("abcd")})
    check(reader, tmp_path / "m.bnn", packed)
    assert reader.scores(tmp_path / "m.bnn", some_images((1, 1, 1), 1)).tolist() == [[2**24 + 2, 2**24, 2**24, 1]]


def test_infinities_do_no_harm(reader, tmp_path):
    """Two numbers of 3e38 give an infinity, two infinities of different signs a NaN: no reader fails of it."""
    large = Op("normalise", "n", (0,), {}, {"table": np.full((1, 256), 3e38, np.float32)})
    flat = Op("flatten", "f", (1,))
    grow = Op("linear", "g", (2,), {"outputs": 2}, {"weight": np.array([[1, 1], [-1, -1]], np.float32)})
    lose = Op("linear", "l", (3,), {"outputs": 2}, {"weight": np.array([[1, 1], [1, 0]], np.float32)})
    path, images = tmp_path / "m.bnn", some_images((1, 1, 2))
    file.write(Packed((1, 1, 2), (large, flat, grow, lose), {"classes": ["a", "b"]}), path)
    for found in (reader.scores(path, images), load(path).logits(images)):
        assert found.shape == (5, 2)
        assert not np.isfinite(found).any()


# The page itself.


def example():
    """The bytes of the page's example: its header, its tensors, and what stands before them."""
    page = PAGE.read_text(encoding="utf-8").partition("## An example by hand")[2]
    size, first = re.search(r"The header has (\d+) bytes \(`([0-9a-f ]+)`\), with four spaces at its end", page).groups()
    header = re.search(r"```\n(\{.*\})\n```", page)[1].encode() + b" " * 4
    assert int(size) == len(header)
    tensors = re.findall(r"^\| `[0-9]\.\w+` \| `([0-9a-f ]+)` \|", page, re.MULTILINE)
    return bytes.fromhex(first) + header + b"".join(map(bytes.fromhex, tensors))


def test_the_example_of_the_page_is_a_file_byte_for_byte(reader, tmp_path):
    path = tmp_path / "m.bnn"
    path.write_bytes(example())
    assert file.encode(file.read(path)) == example()
    image = np.array([[[[200, 10], [30, 120]]]], np.uint8)
    assert reader.scores(path, image).tolist() == [[1.375, -1.5]]
    assert load(path).logits(image).tolist() == [[1.375, -1.5]]
    assert round(float(load(path).probabilities(image)[0, 0]), 4) == 0.9466
    assert load(path).classes[load(path).predict(image)[0]] == "dark"
    _, tensors = reader.read(path)
    assert {name: tensor.ravel().tolist() for name, tensor in tensors.items()} == {
        "3.weight": [0.5, -1, 0.25, 1, 2, -0.5],
        "3.bias": [0.125, -1],
        "2.threshold": [50, 61, -110],
        "1.signs": [0xAC, 0x20],
        "1.mask": [0xF0, 0xF0, 0xB0],
        "2.flip": [0x20],
    }


def test_a_changed_bit_changes_the_checksum(reader, tmp_path):
    path = tmp_path / "m.bnn"
    for old, new in ((b"dark", b"bark"), (b"\xf0\xf0\xb0", b"\xf0\xf0\xb1")):
        path.write_bytes(example().replace(old, new))
        with pytest.raises(ValueError, match="checksum"):
            reader.read(path)


def test_the_reader_imports_numpy_and_the_standard_library_alone():
    tree = ast.parse((HERE / "independent_reader.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {"numpy", *sys.stdlib_module_names}
