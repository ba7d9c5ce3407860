"""A QONNX file at work in ONNX Runtime, to which the dialect is explained, beside the runner."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bnn_train.deploy import reference
from bnn_train.deploy.bounds import UNIT, bounds
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers.onnx import package, session_of
from bnn_train.errors import ConfigError

DOMAIN = "qonnx.custom_op.general"
_BATCH, _LOOKED_INTO = 100, 20


def compare(path: Path, network: Network, images: np.ndarray) -> str | None:
    """Runs the file in ONNX Runtime, to which BipolarQuant is explained, on uint8 images (N, C, H, W): how many have the network's
    class. Raises ConfigError where scores differ by more than rounding explains; None without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = session_of(_explained(path))
    parts = [images[i : i + _BATCH].astype(np.float32) for i in range(0, len(images), _BATCH)]
    ours = network.logits(images)
    theirs = np.concatenate([session.run(["scores"], {"images": part})[0] for part in parts]) if parts else ours
    differ = np.abs(theirs.astype(np.float64) - ours).max(axis=1, initial=0.0)
    same = theirs.argmax(axis=1) == ours.argmax(axis=1)
    rounding, bound, excused = _with_rounding(network.packed), 0.0, 0
    for rank, k in enumerate(np.lexsort((-differ, same))):  # other classes first, then what differs most
        if rank >= _LOOKED_INTO and same[k] and differ[k] <= bound:
            break
        found = bounds(rounding, reference.run(rounding, images[k : k + 1]))
        if found.uncertain[0]:
            excused += bool(differ[k] > found.scores.max())
        elif not (np.abs(theirs[k].astype(np.float64) - ours[k]) <= found.scores[0]).all():
            raise ConfigError("format", "qonnx", f"scores differ by {differ[k]:.1e}, more than rounding. Please report this")
        else:
            bound = max(bound, float(found.scores.max()))
    version = ".".join(onnxruntime.__version__.split(".")[:2])
    text = f"ONNX Runtime {version}: equal classes on {int(same.sum()):,} of {len(images):,} images"
    if not differ.any():
        return f"{text}, equal scores"
    text += f"; scores differ by {differ[differ <= bound].max(initial=0.0):.1e} at most, where rounding can make {bound:.1e}"
    return text + (f"; in {excused} a sign is within rounding of its threshold" if excused else "")


def line(op: Op) -> tuple[np.ndarray, np.ndarray, float]:
    """scale and shift, float32 (channels,), of an affine operation or of a table of pixels; how far the table is from that line."""
    if op.kind == "affine":
        return op.tensors["scale"], op.tensors["shift"], 0.0
    table = op.tensors["table"]
    ends = table[:, [0, 255]].astype(np.float64)
    scale, shift = ((ends[:, 1] - ends[:, 0]) / 255).astype(np.float32), table[:, 0]
    drawn = np.arange(256, dtype=np.float32) * scale[:, None] + shift[:, None]
    return scale, shift, float(np.abs(drawn.astype(np.float64) - table).max())


def _with_rounding(packed: Packed) -> Packed:
    """The network with what is known of float32's rounding, for deploy/bounds.py.

    Where that takes results for equal, an affine operation that changes nothing stands behind: tables, which are lines here, and
    sigmoids, which ONNX Runtime approximates.
    """
    values = infer(packed)
    ops: list[Op] = []
    at = {0: 0}  # where each value is now
    for i, op in enumerate(packed.ops):
        moved = replace(op, inputs=tuple(at[k] for k in op.inputs))
        if op.kind == "affine":
            moved = replace(moved, rounding=np.stack([np.full_like(op.tensors["shift"], 3), 2 * np.abs(op.tensors["shift"])]))
        ops.append(moved)
        if op.kind in ("normalise", "sigmoid"):
            channels = values[i + 1].shape[0]
            size = 16.0 if op.kind == "sigmoid" else line(op)[2] / UNIT + np.abs(op.tensors["table"]).max()
            tensors: Mapping[str, np.ndarray] = {"scale": np.ones(channels, np.float32), "shift": np.zeros(channels, np.float32)}
            rounding = np.stack([np.zeros(channels), np.full(channels, size)])
            ops.append(Op("affine", op.name, (len(ops),), {}, tensors, rounding))
        at[i + 1] = len(ops)
    return replace(packed, ops=tuple(ops))


def _explained(path: Path) -> bytes:
    """The file with the dialect's operators written out as functions of standard ones, for batches of any size."""
    onnx = package("qonnx")
    model = onnx.load(path)
    for tensor in (model.graph.input[0], model.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    node, standard = onnx.helper.make_node, [onnx.helper.make_opsetid("", 18)]
    bipolar = [
        *(node("Constant", [], [name], value_float=value) for name, value in (("zero", 0.0), ("up", 1.0), ("down", -1.0))),
        node("GreaterOrEqual", ["x", "zero"], ["above"]),
        node("Where", ["above", "up", "down"], ["sign"]),
        node("Mul", ["sign", "scale"], ["y"]),
    ]
    ternary = [node("Identity", ["x"], ["y"])]  # of weights that are -1, 0, +1 already
    model.functions.extend(
        [
            onnx.helper.make_function(DOMAIN, "BipolarQuant", ["x", "scale"], ["y"], bipolar, standard),
            onnx.helper.make_function(DOMAIN, "Quant", ["x", "scale", "zero", "bits"], ["y"], ternary, standard),
        ]
    )
    content: bytes = model.SerializeToString()
    return content
