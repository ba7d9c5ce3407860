"""The network as ONNX: small, valid, and in ONNX Runtime the runner's class scores bit for bit."""

import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import device, models
from bnn_train.binary.layers import BinaryLayer
from bnn_train.deploy import file
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers import onnx as writer
from bnn_train.errors import ConfigError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem + "_for_onnx", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


networks = _module(Path(__file__).parent.parent / "test_independent_reader.py")  # networks with all operations


def equal(packed, path, count=5):
    """The file gives the runner's scores, bit for bit; the runner's."""
    network, images = Network(packed, threads=1), networks.some_images(packed.image_shape, count)
    writer.write(packed, path)
    said = writer.compare(path, network, images)
    version = ".".join(onnxruntime.__version__.split(".")[:2])
    assert said == f"ONNX Runtime {version}: equal class scores on {count} of {count} images"
    return network


def trained_like(compose, overrides, shape, tmp_path, share=0.0):
    device.make_reproducible(0)
    model = networks.filled(models.build(compose(*overrides), shape, 10), shape)
    for layer in model.modules():
        if share and isinstance(layer, BinaryLayer):
            layer.prune(torch.rand_like(layer.weight) < share)
    return networks.exported(model, shape, tmp_path / "m.bnn")


@pytest.mark.parametrize(("overrides", "shape"), networks.NETWORKS, ids=lambda x: " ".join(x) if isinstance(x[0], str) else "")
def test_networks_of_the_product_have_equal_scores(compose, tmp_path, overrides, shape):
    equal(trained_like(compose, overrides, shape, tmp_path), tmp_path / "m.onnx", 20)


@pytest.mark.parametrize("share", [0.3, 0.95, 1.0])
@pytest.mark.parametrize("overrides", [("model=mlp", "model.hidden=[20,12]"), networks.CNN], ids=["mlp", "cnn"])
def test_pruned_edges_are_left_out(compose, tmp_path, overrides, share):
    """Few connected edges are kept by the gaps between them, many by a mask."""
    equal(trained_like(compose, overrides, (3, 8, 8), tmp_path, share), tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99])
def test_the_file_is_about_as_small_as_our_own(compose, tmp_path, share):
    packed = trained_like(compose, ("model=mlp", "model.hidden=[512,512]"), (1, 8, 8), tmp_path, share)
    writer.write(packed, tmp_path / "m.onnx")
    ours = (tmp_path / "m.bnn").stat().st_size
    assert (tmp_path / "m.onnx").stat().st_size < 1.03 * ours + 3000


def test_weights_are_unpacked_when_the_file_is_loaded(compose, tmp_path):
    """What is left to be computed for an image has no operator that unpacks; linear layers multiply 8-bit integers."""
    for overrides, share in itertools.product((("model=mlp", "model.hidden=[20,12]"), networks.CNN), (0.0, 0.3, 0.95)):
        writer.write(trained_like(compose, overrides, (3, 8, 8), tmp_path, share), tmp_path / "m.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), options, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node]
        assert not {"BitwiseAnd", "ScatterElements", "ConstantOfShape", "CumSum", "Slice", "Equal", "Not"} & set(kinds)
        assert kinds.count("Where") <= 3  # signs as numbers
        assert kinds.count("MatMulInteger") == 1  # behind a first layer of pixels


def test_the_file_says_its_classes_and_takes_batches_of_any_size(tmp_path):
    shape, ops = networks.start(np.random.default_rng(0), "whole")
    packed = networks.with_scores(shape, ops, 120)
    packed = replace(packed, about={**packed.about, "run": "outputs/r", "figures": {"test_accuracy": 0.5}})
    equal(packed, tmp_path / "m.onnx", 1)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["classes"]) == [str(c) for c in range(120)]
    assert json.loads(properties["image_shape"]) == [4, 5, 6]
    assert properties["run"] == "outputs/r"
    assert json.loads(properties["figures"]) == {"test_accuracy": 0.5}
    (pixels,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("images", "tensor(uint8)", ["N", 4, 5, 6])
    assert (scores.name, scores.type, scores.shape) == ("scores", "tensor(float)", ["N", 120])
    for count in (1, 2, 7):
        assert session.run(None, {"images": networks.some_images(shape, count)})[0].shape == (count, 120)


def test_only_standard_operators_and_equal_bytes_each_time(compose, tmp_path):
    packed = trained_like(compose, networks.CNN, (3, 8, 8), tmp_path)
    for name in ("a.onnx", "b.onnx"):
        writer.write(packed, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    model = onnx.load(tmp_path / "a.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not list(tmp_path.glob("*.tmp"))


def test_an_own_network_with_branches_pools_and_a_gate(tmp_path):
    for gate in (None, nn.Sigmoid()):
        torch.manual_seed(0)
        packed = networks.exported(networks.filled(networks.Own(gate), (3, 9, 10)), (3, 9, 10), tmp_path / "m.bnn")
        writer.write(packed, tmp_path / "m.onnx")
        said = writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), networks.some_images((3, 9, 10)))
        assert "equal class scores on 5 of 5" in said or (gate is not None and "sums in float64 round otherwise" in said)


def test_gates_of_a_block_to_the_last_bits(compose, tmp_path):
    packed = trained_like(compose, (*networks.CNN, "block=real_to_binary"), (3, 9, 8), tmp_path)
    writer.write(packed, tmp_path / "m.onnx")
    said = writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), networks.some_images((3, 9, 8)))
    assert "equal class scores on 5 of 5" in said or "sums in float64 round otherwise" in said


class Checked:
    """In the place of the independent reader in its tests: what they check there is checked of the ONNX file."""

    @staticmethod
    def scores(path, images):
        return Network(file.read(path), threads=1).logits(images)


@pytest.fixture
def of_onnx(monkeypatch):
    def check(reader, path, packed):
        path.write_bytes(file.encode(packed))
        equal(packed, path.with_suffix(".onnx"))

    monkeypatch.setattr(networks, "check", check)
    return Checked


@pytest.mark.parametrize("weight", ["binary", "masked", "real"])
@pytest.mark.parametrize("kind", networks.KINDS)
def test_convolutions(of_onnx, tmp_path, kind, weight):
    networks.test_convolutions_of_every_kind_and_geometry(of_onnx, tmp_path, kind, weight)


@pytest.mark.parametrize("kind", networks.KINDS[1:])
def test_pools(of_onnx, tmp_path, kind):
    networks.test_pools_of_every_kind_and_geometry(of_onnx, tmp_path, kind)


@pytest.mark.parametrize("kind", networks.KINDS[1:])
def test_elementwise_operations(of_onnx, tmp_path, kind):
    networks.test_elementwise_operations_on_every_kind(of_onnx, tmp_path, kind)


def test_signs(of_onnx, tmp_path):
    networks.test_signs_of_whole_and_of_real_numbers(of_onnx, tmp_path)


def test_whole_sums_that_float32_cannot_hold(tmp_path):
    """2^24 + 1 as a sum of pixels, plus 1 and 2; then a pool of such sums, and thresholds at them and one above."""
    ones = np.full((2, 10_000), 255, np.uint8)
    settings = {"outputs": 2, "kernel": [200, 400], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    conv = Op("conv2d", "c", (0,), {**settings, "pad_value": 0}, {"weight": ones, "offset": np.array([1, 2], np.int32)})
    pool = Op("max_pool", "p", (1,), {"kernel": [1, 2], "stride": [1, 1], "padding": [0, 0], "ceil": False})
    both, flat = Op("concatenate", "b", (2, 2)), Op("flatten", "f", (3,))
    limits = np.array([2**24 + 2, 2**24 + 4, 2**24 + 3, -(2**31)], np.int32)
    sign = Op("sign", "s", (4,), {}, {"threshold": limits})  # + - - +
    head = Op("linear", "h", (5,), {"outputs": 2}, {"weight": np.array([[0x90], [0xF0]], np.uint8)})
    packed = Packed((1, 200, 401), (conv, pool, both, flat, sign, head), {"classes": ["a", "b"]})
    pixels = np.full((200, 401), 255, np.uint8)
    pixels[:, 0] = 0
    full, rest = divmod(2**24 + 1, 255)
    inside = np.zeros(200 * 400, np.uint8)
    inside[:full], inside[full] = 255, rest
    pixels[:, 1:] = inside.reshape(200, 400)
    writer.write(packed, tmp_path / "m.onnx")
    network, image = Network(packed, threads=1), pixels[None, None]
    assert network.logits(image).tolist() == [[4, 0]]
    assert writer.compare(tmp_path / "m.onnx", network, image).endswith("equal class scores on 1 of 1 images")


def test_a_file_that_gives_something_else_is_refused_by_the_layer(compose, tmp_path):
    packed = trained_like(compose, ("model=mlp", "model.hidden=[20,12]"), (1, 6, 7), tmp_path)
    i = next(i for i, op in enumerate(packed.ops) if op.kind == "sign")
    name = packed.ops[i].name
    sign = packed.ops[i]
    wrong = replace(
        sign, tensors={**sign.tensors, "threshold": sign.tensors["threshold"] + sign.tensors["threshold"].dtype.type(50)}
    )
    writer.write(replace(packed, ops=(*packed.ops[:i], wrong, *packed.ops[i + 1 :])), tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=f"something else for '{name}'") as error:
        writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), networks.some_images((1, 6, 7)))
    assert "\n" not in str(error.value)


def test_float64_rounds_otherwise_only_where_a_sum_lies_in_the_middle(tmp_path):
    """2^24 + 1 - 2^-60 is 2^24 + 1 in float64, the middle of two float32: the even one is taken by both. What no order of float64
    gives is the exact sum of 2^60 + 1 - 2^60: the difference is said, not refused."""
    one = Op("normalise", "n", (0,), {}, {"table": np.ones((1, 256), np.float32)})
    flat, three = Op("flatten", "f", (1,)), Op("concatenate", "c", (2, 2, 2))
    rows = np.array([[2**24, 1, -(2**-60)], [2**60, 1, -(2**60)]], np.float32)
    packed = Packed(
        (1, 1, 1), (one, flat, three, Op("linear", "h", (3,), {"outputs": 2}, {"weight": rows})), {"classes": ["a", "b"]}
    )
    writer.write(packed, tmp_path / "m.onnx")
    said = writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), networks.some_images((1, 1, 1), 3))
    assert "0 of 3 images; sums in float64 round otherwise in the others, by 1.0e+00 at most; equal classes on 3" in said


def test_without_the_packages_it_is_said_how_to_get_them(compose, tmp_path, monkeypatch):
    packed = networks.with_scores(*networks.start(np.random.default_rng(0), "real"), 120)
    writer.write(packed, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert writer.compare(tmp_path / "m.onnx", Network(packed), networks.some_images((4, 5, 6))) is None
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"format=onnx: needs the package onnx: pip install 'bnn-train\[onnx\]'"):
        writer.write(packed, tmp_path / "m.onnx")
