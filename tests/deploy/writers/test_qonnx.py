"""The network as QONNX: BipolarQuant where there are signs, equal whole numbers, real sums within rounding."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import device, models
from bnn_train.binary.layers import BinaryLayer
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers import qonnx as writer
from bnn_train.errors import ConfigError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem + "_for_qonnx", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


networks = _module(Path(__file__).parent.parent / "test_independent_reader.py")  # networks with all operations
MLP = ("model=mlp", "model.hidden=[20,12]")


def trained_like(compose, overrides, shape, tmp_path, share=0.0):
    device.make_reproducible(0)
    model = networks.filled(models.build(compose(*overrides), shape, 10), shape)
    for layer in model.modules():
        if share and isinstance(layer, BinaryLayer):
            layer.prune(torch.rand_like(layer.weight) < share)
    return networks.exported(model, shape, tmp_path / "m.bnn")


def compared(packed, path, count=20):
    writer.write(packed, path)
    return writer.compare(path, Network(packed, threads=1), networks.some_images(packed.image_shape, count))


@pytest.mark.parametrize(("overrides", "shape"), networks.NETWORKS, ids=lambda x: " ".join(x) if isinstance(x[0], str) else "")
def test_networks_of_the_product_have_equal_classes(compose, tmp_path, overrides, shape):
    said = compared(trained_like(compose, overrides, shape, tmp_path), tmp_path / "m.onnx")
    assert "equal classes on 20 of 20 images" in said


@pytest.mark.parametrize("overrides", [MLP, networks.CNN], ids=["mlp", "cnn"])
def test_pruned_weights_are_marked_as_ternary(compose, tmp_path, overrides):
    packed = trained_like(compose, overrides, (3, 8, 8), tmp_path, 0.5)
    assert "equal classes on 20 of 20 images" in compared(packed, tmp_path / "m.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds.count("Quant") == sum("mask" in op.tensors for op in packed.ops) > 0


def test_binary_weights_and_signs_are_bipolar(compose, tmp_path):
    packed = trained_like(compose, MLP, (1, 6, 7), tmp_path)
    writer.write(packed, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert set(kinds) == {"Flatten", "MatMul", "Add", "BipolarQuant"}  # no Mul: weights are turned where a sign is
    binary = sum(op.kind == "linear" and op.tensors["weight"].dtype == np.uint8 for op in packed.ops)
    assert kinds.count("BipolarQuant") == binary + sum(op.kind == "sign" for op in packed.ops)
    (annotation,) = model.graph.quantization_annotation
    assert (annotation.tensor_name, annotation.quant_parameter_tensor_names[0].value) == ("images", "UINT8")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 6, 7]


def test_an_own_network_with_branches_and_a_gate(tmp_path):
    """Its pools' last windows end behind the image, which the dialect's do not."""
    torch.manual_seed(0)
    own = networks.Own(nn.Sigmoid())
    packed = networks.exported(networks.filled(own, (3, 9, 10)), (3, 9, 10), tmp_path / "m.bnn")
    with pytest.raises(ConfigError, match="format=qonnx: has no pool whose last window ends behind the image, as that of 'max"):
        writer.write(packed, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    own.max, own.average = nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
    packed = networks.exported(networks.filled(own, (3, 9, 10)), (3, 9, 10), tmp_path / "m.bnn")
    assert "equal classes on 20 of 20 images" in compared(packed, tmp_path / "m.onnx")


def test_gates_of_a_block(compose, tmp_path):
    packed = trained_like(compose, (*networks.CNN, "block=real_to_binary"), (3, 9, 8), tmp_path)
    assert "equal classes on 20 of 20 images" in compared(packed, tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", ["whole", "real"])
@pytest.mark.parametrize("flip", [0x00, 0xA0, 0xF0])
def test_signs_turn_at_their_thresholds(tmp_path, kind, flip):
    """At a number that there is, just above it, always, and never; where a product's weights are turned, and where they are not."""
    shape, ops = networks.start(np.random.default_rng(4), kind)
    if kind == "real":  # pixels as they are
        ops = (replace(ops[0], tensors={"table": np.tile(np.arange(256, dtype=np.float32), (4, 1))}),)
    images = networks.some_images(shape, 1)
    numbers = Network(networks.with_scores(shape, ops, 120)).logits(images)[0].reshape(4, 30)[:, 7].copy()
    types = np.int32 if kind == "whole" else np.float32
    limits = numbers.astype(types)
    limits[1] = limits[1] + 1 if kind == "whole" else np.nextafter(limits[1], np.float32(np.inf))
    limits[2:] = (2**31 - 1, -(2**31)) if kind == "whole" else (np.inf, -np.inf)
    for pool in ((), (Op("max_pool", "p", (len(ops),), {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "ceil": False}),)):
        before = (*ops, *pool)
        sign = Op("sign", "s", (len(before),), {}, {"threshold": limits, "flip": np.array([[flip]], np.uint8)})
        packed = networks.with_scores(shape, (*before, sign), 120)
        writer.write(packed, tmp_path / "m.onnx")
        said = writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), images)
        assert said.endswith("equal classes on 1 of 1 images, equal scores")


def test_scores_that_differ_by_more_than_rounding_are_an_error(compose, tmp_path):
    packed = trained_like(compose, MLP, (1, 6, 7), tmp_path)
    last = packed.ops[-1]
    wrong = replace(last, tensors={**last.tensors, "bias": last.tensors["bias"] + np.float32(0.01)})
    writer.write(replace(packed, ops=(*packed.ops[:-1], wrong)), tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=r"scores differ by 1\.0e-02, more than rounding"):
        writer.compare(tmp_path / "m.onnx", Network(packed, threads=1), networks.some_images((1, 6, 7)))


def test_sums_that_float32_cannot_hold_are_refused_by_the_layer(tmp_path):
    weight = np.full((1, 10_000), 255, np.uint8)
    flat, head = Op("flatten", "f", (0,)), Op("linear", "head", (1,), {"outputs": 1}, {"weight": weight})
    packed = Packed((1, 200, 400), (flat, head), {"classes": ["a"]})
    with pytest.raises(ConfigError, match="float32 alone, which cannot hold the sums of 'head'"):
        writer.write(packed, tmp_path / "m.onnx")


def test_tables_that_are_no_line_are_refused(tmp_path):
    packed = networks.with_scores(*networks.start(np.random.default_rng(0), "real"), 120)
    with pytest.raises(ConfigError, match="has no tables, and that of 'n' is no line"):
        writer.write(packed, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("overrides", [MLP, networks.CNN], ids=["mlp", "cnn"])
def test_the_package_qonnx_executes_it(compose, tmp_path, overrides):
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    shape = (1, 9, 8)
    packed = trained_like(compose, overrides, shape, tmp_path)
    writer.write(packed, tmp_path / "m.onnx")
    model = cleanup_model(ModelWrapper(str(tmp_path / "m.onnx")))
    images = networks.some_images(shape, 10)
    names = model.graph.input[0].name, model.graph.output[0].name
    found = np.concatenate([execute_onnx(model, {names[0]: image[None].astype(np.float32)})[names[1]] for image in images])
    np.testing.assert_allclose(found, Network(packed).logits(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("more", [(), ("model.binarize_output=true",)], ids=["", "binary output"])
def test_hls4ml_compiles_it(compose, tmp_path, monkeypatch, more):
    """In fixed point, 16 bits behind the point. Its pass QuantizeDenseOutput (1.3) makes each weight a +1."""
    hls4ml = pytest.importorskip("hls4ml")
    pytest.importorskip("qonnx")
    from hls4ml.backends.vivado.passes.bn_quant import QuantizeDenseOutput
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    monkeypatch.setattr(QuantizeDenseOutput, "match", lambda self, node: False)
    shape = (1, 6, 7)
    packed = trained_like(compose, (*MLP, *more), shape, tmp_path)
    writer.write(packed, tmp_path / "m.onnx")
    model = cleanup_model(ModelWrapper(str(tmp_path / "m.onnx")))
    settings = hls4ml.utils.config_from_onnx_model(model, "name", backend="Vitis", default_precision="fixed<32,16>")
    made = hls4ml.converters.convert_from_onnx_model(
        model, output_dir=str(tmp_path / "hls"), io_type="io_parallel", backend="Vitis", hls_config=settings
    )
    made.compile()
    images = networks.some_images(shape, 50)
    found, scores = made.predict(np.ascontiguousarray(images.astype(np.float32))), Network(packed).logits(images)
    assert np.array_equal(found.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_allclose(found, scores, atol=2e-3)
