"""The packed network as a file: safetensors, the operations as JSON text, a checksum over everything; docs/format.md tells all.

A file is data alone: nothing in it names a module or a program. What is wrong with one is a DamagedFile, whatever it is.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bnn_train import files
from bnn_train.deploy import sparse
from bnn_train.deploy.header import parsed
from bnn_train.deploy.infer import infer
from bnn_train.deploy.limits import MOST_ELEMENTS, MOST_HEADER, MOST_OPERATIONS
from bnn_train.deploy.packed import Op, Packed, Unfit, Value, inputs_of
from bnn_train.errors import ConfigError

FORMAT = 1
SUFFIX = ".bnn"
_TYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("uint8"), "I16": np.dtype("<i2"), "I32": np.dtype("<i4"), "F32": np.dtype("<f4")}
_NO_SUM = b"0" * 64  # what stands in the checksum's place while it is computed
_ABOUT = {  # what these keys hold, where they are there; others may hold anything plain
    "image_shape": list, "data": dict, "images": dict, "figures": dict, "versions": dict, "run": str, "checkpoint": str,
    "kind": str, "epoch": int, "step": int, "stages": int, "eval_batch_size": int, "program": str,
}  # fmt: skip


class DamagedFile(ConfigError):
    """A file that is no exported network, or one that was changed since it was written."""


def is_exported(path: Path) -> bool:
    """Whether a file is, or by its name should be, an exported network (checkpoints are zip files)."""
    if path.suffix.lower() == SUFFIX:
        return not path.is_dir()
    try:
        with open(path, "rb") as file:
            start = file.read(10)
    except OSError:
        return False
    return start[4:] == b'\0\0\0\0{"'  # a header of safetensors


def write(packed: Packed, path: Path) -> None:
    """Writes the network; a crash leaves the old file, or none. Raises Unfit for one that contradicts itself or is beyond the
    limits, ConfigError where it cannot be written."""
    content = encode(packed)
    decode(content)  # what is written can be read
    files.write(path, lambda file: file.write(content))


def read(path: Path, key: str = "path") -> Packed:
    """The network of a file. Raises DamagedFile for `key` where there is none in it, or not the one that was written."""
    try:
        return decode(_content(path))
    except OSError as error:
        raise DamagedFile(key, path, f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    except MemoryError:
        raise DamagedFile(key, path, "is larger than the memory there is") from None
    except Unfit as error:
        raise DamagedFile(key, path, str(error)) from None


def encode(packed: Packed) -> bytes:
    """The bytes of the file. Raises Unfit."""
    ops = stored(packed)
    arrays = [(f"{i}.{name}", array) for i, op in enumerate(ops) for name, array in op.tensors.items()]
    arrays.sort(key=lambda named: -named[1].itemsize)  # so each begins at a multiple of its numbers' size: readers may map the file
    operations = [{"kind": op.kind, "name": op.name, "inputs": list(op.inputs), "settings": dict(op.settings)} for op in ops]
    about = _finite(packed.about)
    network = {"format": FORMAT, "image_shape": list(packed.image_shape), "operations": operations, "about": about}
    header: dict[str, Any] = {
        "__metadata__": {"sha256": _NO_SUM.decode("ascii"), "bnn_train": json.dumps(network, separators=(",", ":"))}
    }
    parts, end = [], 0
    for name, array in arrays:
        kind = next(kind for kind, dtype in _TYPES.items() if array.dtype == dtype)
        data = np.ascontiguousarray(array, _TYPES[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    start = len(text).to_bytes(8, "little") + text
    checksum = hashlib.sha256(start)
    for data in parts:
        checksum.update(data)
    return b"".join([start.replace(_NO_SUM, checksum.hexdigest().encode("ascii"), 1), *parts])


def stored(packed: Packed) -> list[Op]:
    """The operations as they lie in the file: pruned layers with their connected edges alone. Raises Unfit."""
    values = infer(packed)
    ops = []
    for op in packed.ops:
        if "mask" in op.tensors:
            inputs = inputs_of(op, values[op.inputs[0]].shape[0])
            others = {name: array for name, array in op.tensors.items() if name not in ("weight", "mask")}
            tensors = {**sparse.as_stored(op.tensors["weight"], op.tensors["mask"], inputs), **others}
            op = replace(op, settings={**op.settings, "fan_in": inputs}, tensors=tensors)
        ops.append(op)
    return ops


def _dense(op: Op, edges: int) -> tuple[Op, int]:
    """A pruned layer of a file with all its edges again; `edges` counts those of all such layers so far."""
    if "signs" not in op.tensors:
        return op, edges
    sizes = [op.settings.get(name) for name in ("outputs", "fan_in")]
    if not all(type(n) is int and 0 < n <= MOST_ELEMENTS for n in sizes) or len({"mask", "gaps"} & set(op.tensors)) != 1:
        raise Unfit(f"operation {op.name[:80]!r} does not say which edges its signs are of")
    outputs, inputs = (int(n) for n in sizes)  # type: ignore[arg-type]
    edges += outputs * inputs
    if edges > sparse.MOST_EDGES:
        raise Unfit("has more edges in pruned layers than are allowed")
    others = {name: array for name, array in op.tensors.items() if name not in ("signs", "mask", "gaps")}
    settings = {name: value for name, value in op.settings.items() if name != "fan_in"}
    return replace(op, settings=settings, tensors={**sparse.as_used(dict(op.tensors), outputs, inputs), **others}), edges


def decode(content: bytes) -> Packed:
    """The network of a file's bytes; its tensors are views of them. Raises Unfit."""
    end = 8 + _header_size(content[:9], len(content))
    header = _typed(parsed(content[8:end]), dict, "header")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or "bnn_train" not in metadata:
        raise Unfit("is a safetensors file, but no network that bnn-export wrote")
    _check_sum(content, end, metadata.get("sha256"))
    network = _typed(parsed(_typed(metadata["bnn_train"], str, "network"), for_people=True), dict, "network")
    version = _typed(network.get("format"), int, "format")
    if version != FORMAT:
        raise Unfit(f"has format {version}, but this version reads {FORMAT}: use a newer bnn-train")
    tensors = _tensors(header, memoryview(content)[end:])
    operations = _typed(network.get("operations"), list, "operations")
    if len(operations) > MOST_OPERATIONS:
        raise Unfit("has too many operations")
    ops, edges = [], 0
    for i, given in enumerate(operations):
        op, edges = _dense(_operation(given, tensors.pop(i, {})), edges)
        ops.append(op)
    if tensors:
        raise Unfit("holds tensors that no operation takes")
    shape = _typed(network.get("image_shape"), list, "image_shape")
    packed = Packed(tuple(shape), tuple(ops), _typed(network.get("about"), dict, "about"))
    _check_about(packed, infer(packed)[-1])
    return packed


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise Unfit("is a folder, not an exported network" if path.is_dir() else "is no file that can be read twice")
    with open(path, "rb") as file:
        _header_size(file.read(9), os.fstat(file.fileno()).st_size)  # a foreign file of many gigabytes is not read
        file.seek(0)
        return file.read()


def _header_size(start: bytes, whole: int) -> int:
    """The size of the header of a file of `whole` bytes that begins with these nine."""
    size = int.from_bytes(start[:8], "little")
    if start[:4] == b"PK\x03\x04":
        raise Unfit("is a checkpoint or another zip file, not an exported network; bnn-export makes one of it")
    if not start:
        raise Unfit("is empty")
    if not 2 <= size <= min(MOST_HEADER, whole - 8) or start[8:] != b"{":
        raise Unfit("is no exported network: it is cut short, damaged or foreign")
    return size


def _check_sum(content: bytes, end: int, checksum: Any) -> None:
    """end: of the header, where the checksum stands once."""
    if type(checksum) is not str or not re.fullmatch(r"[0-9a-f]{64}", checksum):
        raise Unfit("is damaged: it has no checksum")
    digits = checksum.encode("ascii")
    place = content.find(digits, 8, end)
    if place < 0 or content.find(digits, place + 1, end) >= 0:
        raise Unfit("is damaged: its checksum is not there once")
    view, found = memoryview(content), hashlib.sha256()
    for part in (view[:place], _NO_SUM, view[place + 64 :]):
        found.update(part)
    if found.hexdigest() != checksum:
        raise Unfit("is damaged or cut short: its checksum does not fit; copy or export it again")


def _typed(value: Any, kind: type, what: str) -> Any:
    if type(value) is not kind:
        raise Unfit(f"is damaged: its {what} cannot be read")
    return value


def _tensors(header: dict[str, Any], data: memoryview) -> dict[int, dict[str, np.ndarray]]:
    """{operation: {name: array}}. The arrays lie one behind the other and fill the file."""
    found: dict[int, dict[str, np.ndarray]] = {}
    spans = []
    for key, entry in header.items():
        place = re.fullmatch(r"(0|[1-9][0-9]{0,4})\.([a-z_]{1,40})", key)
        entry = _typed(entry, dict, "header")
        dtype = _TYPES.get(str(entry.get("dtype")))
        shape, offsets = _typed(entry.get("shape"), list, "header"), _typed(entry.get("data_offsets"), list, "header")
        if place is None or dtype is None or len(offsets) != 2 or len(shape) > 4:
            raise Unfit("is damaged: it holds a tensor of an unknown kind")
        if not all(type(n) is int and 0 <= n <= len(data) for n in [*shape, *offsets]):
            raise Unfit("is damaged or cut short: a tensor lies outside it")
        begin, end = offsets
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise Unfit("is damaged: a tensor has another size than it says")
        spans.append((begin, end))
        found.setdefault(int(place[1]), {})[place[2]] = np.frombuffer(data[begin:end], dtype).reshape(shape)
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise Unfit("is damaged: its tensors overlap or leave gaps")
        position = end
    if position != len(data):
        raise Unfit("is damaged: it is longer than its tensors")
    return found


def _operation(given: Any, tensors: dict[str, np.ndarray]) -> Op:
    fields = _typed(given, dict, "operations")
    inputs = _typed(fields.get("inputs"), list, "operations")
    kind, name = (_typed(fields.get(key), str, "operations") for key in ("kind", "name"))
    return Op(kind, name, tuple(inputs), _typed(fields.get("settings"), dict, "operations"), tensors)


def _check_about(packed: Packed, scores: Value) -> None:
    about = packed.about
    classes = _typed(about.get("classes"), list, "classes")
    if not all(type(name) is str for name in classes) or len(classes) != scores.size:
        raise Unfit(f"is damaged: it names {len(classes)} classes and has {scores.size} class scores")
    for key, kind in _ABOUT.items():
        if key in about:
            _typed(about[key], kind, key)
    if tuple(about.get("image_shape", packed.image_shape)) != packed.image_shape:
        raise Unfit("is damaged: it speaks of images of another shape than its network takes")


def _finite(value: Any) -> Any:
    """With None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
