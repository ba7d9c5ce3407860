"""The packed network as a file: safetensors, the operations as JSON text, a checksum over everything; docs/format.md tells all.

A file is data alone: nothing in it names a module, a path or a program. What is wrong with one is a DamagedFile, whatever it is.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bnn_train import files
from bnn_train.deploy.infer import MOST_OPERATIONS, infer
from bnn_train.deploy.packed import Op, Packed, Unfit
from bnn_train.errors import ConfigError

FORMAT = 1
SUFFIX = ".bnn"
_TYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("uint8"), "I16": np.dtype("<i2"), "I32": np.dtype("<i4"), "F32": np.dtype("<f4")}
_MOST_HEADER = 2**24  # bytes
_DEEPEST = 32  # brackets within brackets
_NO_SUM = "0" * 64  # what stands in the checksum's place while it is computed


class DamagedFile(ConfigError):
    """A file that is no exported network, or one that was changed since it was written."""


def is_exported(path: Path) -> bool:
    """Whether a file is, or by its name should be, an exported network (checkpoints are zip files)."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def write(packed: Packed, path: Path) -> None:
    """Writes the network; a crash leaves the old file, or none. Raises Unfit for one that contradicts itself, ConfigError where it
    cannot be written."""
    infer(packed)
    content = encode(packed)
    files.write(path, lambda file: file.write(content))


def read(path: Path, key: str = "path") -> Packed:
    """The network of a file. Raises DamagedFile for `key` where there is none in it, or not the one that was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedFile(key, path, f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    except MemoryError:
        raise DamagedFile(key, path, "is larger than the memory there is") from None
    try:
        return decode(content)
    except (Unfit, _Bad) as error:
        raise DamagedFile(key, path, str(error)) from None


class _Bad(ValueError):
    """What is wrong with the bytes of a file."""


def encode(packed: Packed) -> bytes:
    """The bytes of the file."""
    header: dict[str, Any] = {"__metadata__": {}}
    parts, end = [], 0
    operations = []
    for i, op in enumerate(packed.ops):
        operations.append({"kind": op.kind, "name": op.name, "inputs": list(op.inputs), "settings": dict(op.settings)})
        for name, array in op.tensors.items():
            kind = next(kind for kind, dtype in _TYPES.items() if array.dtype == dtype)
            data = np.ascontiguousarray(array, _TYPES[kind]).tobytes()
            header[f"{i}.{name}"] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + len(data)]}
            parts.append(data)
            end += len(data)
    network = {"format": FORMAT, "image_shape": list(packed.image_shape), "operations": operations, "about": packed.about}
    header["__metadata__"] = {"bnn_train": json.dumps(network, separators=(",", ":")), "sha256": _NO_SUM}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text + b"".join(parts)
    return content.replace(_place(_NO_SUM), _place(hashlib.sha256(content).hexdigest()), 1)


def decode(content: bytes) -> Packed:
    """The network of a file's bytes; its tensors are views of them. Raises Unfit or _Bad."""
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= min(_MOST_HEADER, len(content) - 8) or content[8:9] != b"{":
        _refuse(content)
    text = content[8 : 8 + size]
    header = _json(text)
    metadata = _typed(_typed(header, dict, "header").pop("__metadata__", None), dict, "header")
    if "bnn_train" not in metadata:
        raise _Bad("is a safetensors file, but no network that bnn-export wrote")
    _check_sum(content, _typed(metadata.get("sha256"), str, "checksum"))
    network = _typed(_json(_typed(metadata["bnn_train"], str, "network").encode("utf-8", "surrogatepass")), dict, "network")
    if network.get("format") != FORMAT:
        raise _Bad(f"has format {str(network.get('format'))[:20]}, but this version reads {FORMAT}: use a newer bnn-train")
    tensors = _tensors(header, memoryview(content)[8 + size :])
    operations = _typed(network.get("operations"), list, "operations")
    if len(operations) > MOST_OPERATIONS:
        raise _Bad("has too many operations")
    ops = tuple(_operation(given, tensors.pop(i, {})) for i, given in enumerate(operations))
    if tensors:
        raise _Bad("holds tensors that no operation takes")
    shape = _typed(network.get("image_shape"), list, "image_shape")
    packed = Packed(tuple(shape), ops, _typed(network.get("about"), dict, "about"))
    infer(packed)
    return packed


def _refuse(content: bytes) -> NoReturn:
    if content[:4] == b"PK\x03\x04":
        raise _Bad("is a checkpoint or another zip file, not an exported network; bnn-export makes one of it")
    raise _Bad("is empty" if not content else "is no exported network: it is cut short, damaged or foreign")


def _place(checksum: str) -> bytes:
    return f'"sha256":"{checksum}"'.encode("ascii")


def _check_sum(content: bytes, checksum: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", checksum) or content.count(_place(checksum), 0, 8 + _MOST_HEADER) != 1:
        raise _Bad("has no checksum")
    if hashlib.sha256(content.replace(_place(checksum), _place(_NO_SUM), 1)).hexdigest() != checksum:
        raise _Bad("is damaged or cut short: its checksum does not fit; copy or export it again")


def _json(text: bytes) -> Any:
    """JSON of plain, finite values, within bounds of depth and of digits that Python's reader does not have."""
    depth = deepest = 0
    for bracket in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(bracket[0], 0)
        deepest = max(deepest, depth)
    try:
        if deepest > _DEEPEST:
            raise ValueError
        return json.loads(text, parse_constant=_no_number, parse_int=_integer, parse_float=_real)
    except (ValueError, RecursionError):
        raise _Bad("is no exported network: its header is damaged") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _integer(text: str) -> int:
    if len(text) > 19:
        raise ValueError(text)
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if abs(value) > 1e308:
        raise ValueError(text)
    return value


def _typed(value: Any, kind: type, what: str) -> Any:
    if type(value) is not kind:
        raise _Bad(f"is damaged: its {what} cannot be read")
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
            raise _Bad("is damaged: it holds a tensor of an unknown kind")
        if not all(type(n) is int and 0 <= n <= len(data) for n in [*shape, *offsets]):
            raise _Bad("is damaged or cut short: a tensor lies outside it")
        count = 1
        for n in shape:
            count *= n
        begin, end = offsets
        if end - begin != count * dtype.itemsize:
            raise _Bad("is damaged: a tensor has another size than it says")
        spans.append((begin, end))
        found.setdefault(int(place[1]), {})[place[2]] = np.frombuffer(data[begin:end], dtype).reshape(shape)
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _Bad("is damaged: its tensors overlap or leave gaps")
        position = end
    if position != len(data):
        raise _Bad("is damaged: it is longer than its tensors")
    return found


def _operation(given: Any, tensors: dict[str, np.ndarray]) -> Op:
    fields = _typed(given, dict, "operations")
    inputs = _typed(fields.get("inputs"), list, "operations")
    kind, name = (_typed(fields.get(key), str, "operations") for key in ("kind", "name"))
    return Op(kind, name, tuple(inputs), _typed(fields.get("settings"), dict, "operations"), tensors)
