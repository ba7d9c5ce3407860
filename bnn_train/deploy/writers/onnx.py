"""The network as standard ONNX, with a bit a weight: pixels in, class scores out.

Opset 18, no operators but standard ones. Weights lie there as packed bits, and are unpacked by operators that begin with constants:
ONNX Runtime computes these once, when it loads the file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bnn_train import files
from bnn_train.deploy import reference
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Packed, Value, inputs_of
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers.onnx_graph import TYPES, Graph
from bnn_train.deploy.writers.onnx_operations import add_operation
from bnn_train.errors import ConfigError

SUFFIX = ".onnx"
OPSET, IR_VERSION = 18, 8  # BitwiseAnd came with opset 18; older runtimes read no newer IR
_LARGEST = 2**31 - 2**20  # bytes: protobuf's messages end there
_AT_A_TIME = 2**22  # numbers of all values of a batch
_LOOKED_INTO = 20  # images with other scores: each operation is compared


def write(packed: Packed, path: Path) -> None:
    """Writes the network; a crash leaves the old file, or none. Raises ConfigError where the package onnx is missing, and for a
    network that is too large for the format."""
    onnx = package()
    graph = Graph(infer(packed))
    for i, op in enumerate(packed.ops):
        add_operation(graph, op, i + 1)
    model = model_of(packed, graph, "uint8", "N")
    size = model.ByteSize()
    if size > _LARGEST:
        raise ConfigError("format", "onnx", f"holds at most 2 GB, and this network takes {size / 1e9:.1f}")
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    files.write(path, lambda file: file.write(content))


def compare(path: Path, network: Network, images: np.ndarray) -> str | None:
    """Runs the file in ONNX Runtime on uint8 images (N, C, H, W): how many have the class scores of the network, bit for bit.

    Where they differ, each operation's result is compared, given what it took: whole numbers, bits and all else must be equal, but
    for sums in float64 that round to a neighbouring float32. Raises ConfigError where something else differs; None without
    ONNX Runtime.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    known = infer(network.packed)
    session = session_of(path.read_bytes())
    size = max(1, min(500, _AT_A_TIME // sum(value.size for value in known)))
    theirs = [session.run(["scores"], {"images": images[i : i + size]})[0] for i in range(0, len(images), size)]
    ours = network.logits(images)
    scores = np.concatenate(theirs) if theirs else ours
    other = np.nonzero(~((scores == ours) | (np.isnan(scores) & np.isnan(ours))).all(axis=1))[0]
    version = ".".join(onnxruntime.__version__.split(".")[:2])
    text = f"ONNX Runtime {version}: equal class scores on {len(images) - len(other):,} of {len(images):,} images"
    if not len(other):
        return text
    _look_into(path, network.packed, known, images[other[:_LOOKED_INTO]])
    wide = scores[other].astype(np.float64) - ours[other]
    same = int((scores.argmax(axis=1) == ours.argmax(axis=1)).sum())
    return f"{text}; sums in float64 round otherwise in the others, by {np.abs(wide).max():.1e} at most; equal classes on {same:,}"


def model_of(packed: Packed, graph: Graph, pixels: str, batch: int | str) -> Any:
    """The whole file, of the graph that makes all values. pixels: the type of the images; batch: how many, or a name."""
    from onnx import helper

    graph.layer = "scores"
    graph.form(len(packed.ops), "float")
    images = helper.make_tensor_value_info("images", TYPES[pixels][1], [batch, *packed.image_shape])
    scores = helper.make_tensor_value_info("scores", TYPES["float"][1], [batch, *graph.values[-1].shape])
    made = helper.make_graph(graph.nodes, "network", [images], [scores], graph.initialisers)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="bnn-train",
        producer_version=str(packed.about.get("program", "")),
    )  # fmt: skip
    about = {"image_shape": list(packed.image_shape), **packed.about}
    helper.set_model_props(model, {key: value if type(value) is str else json.dumps(value) for key, value in about.items()})
    return model


def package(format_name: str = "onnx") -> Any:
    """The package onnx; ConfigError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise ConfigError("format", format_name, "needs the package onnx: pip install 'bnn-train[onnx]'") from None
    return onnx


def session_of(content: bytes) -> Any:
    """ONNX Runtime with the file loaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it could not fold, and the like
    # The processor's: others may compute float32 with fewer bits (TF32), or convolutions by ways that round (Winograd).
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _look_into(path: Path, packed: Packed, known: list[Value], images: np.ndarray) -> None:
    """Compares each operation's result with the reference's, given the file's own inputs. Raises ConfigError."""
    onnx = package()
    model = onnx.load(path)
    names = {0: "images"}
    for node in model.graph.node:
        if node.output[0].startswith("v"):
            names.setdefault(int(node.output[0][1:].partition(".")[0]), node.output[0])  # the first is the operation's own result
    wanted = [names.get(i, "scores") for i in range(1, len(known))]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name != "scores")
    session = session_of(model.SerializeToString())
    for image in images:
        found = session.run(wanted, {"images": image[None]})
        values = [image[None], *(_as_known(array, value) for array, value in zip(found, known[1:], strict=True))]
        for i, op in enumerate(packed.ops):
            inputs = [values[k] for k in op.inputs]
            with np.errstate(all="ignore"):
                expected = reference.OPERATIONS[op.kind](op, known[i + 1], *inputs)
            if not _is_near(values[i + 1], expected, _slack(op, inputs[0], expected)):
                raise ConfigError(
                    "format", "onnx", f"ONNX Runtime gives something else for {op.name or op.kind!r}. Please report this"
                )


def _as_known(array: np.ndarray, value: Value) -> np.ndarray:
    """A value as the reference has it."""
    if value.kind == "bits":
        return np.where(array > 0, 1, -1).astype(np.int8)
    return array.astype({"whole": np.int32, "real": np.float32, "bytes": np.uint8}[value.kind])


def _is_near(found: np.ndarray, expected: np.ndarray, slack: np.ndarray | None) -> bool:
    if slack is None:
        return bool(np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f"))
    differ = np.abs(found.astype(np.float64) - expected)
    return bool(((differ <= slack) | ~np.isfinite(slack) | ~np.isfinite(expected)).all())


def _slack(op: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """How far float64's own rounding can bring a float32 result y of the input x; None: not at all."""
    if y.dtype != np.float32 or op.kind not in ("linear", "conv2d", "avg_pool", "sigmoid"):
        return None
    terms = 8.0
    if op.kind == "avg_pool":
        terms = float(np.prod(op.settings["kernel"]) ** 2 * np.abs(x.astype(np.float64)).max())
    elif op.kind != "sigmoid":
        weight = op.tensors["weight"]
        count = inputs_of(op, x.shape[1]) + 4
        largest = 1.0 if weight.dtype == np.uint8 else float(np.abs(weight).max(initial=0))
        bias = float(np.abs(op.tensors["bias"]).max(initial=0)) if "bias" in op.tensors else 0.0
        terms = count * (count * max(1.0, float(np.abs(x.astype(np.float64)).max())) * largest + bias)
    return np.spacing(np.abs(y)).astype(np.float64) + terms * 2.0**-53
