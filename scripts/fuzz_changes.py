"""Ways to damage an exported network, or to make a hostile one, for scripts/fuzz_format.py."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from bnn_train.deploy.file import encode
from bnn_train.deploy.packed import Packed

_DIGITS = re.compile(rb"[0-9a-f]{64}")
_SIZES = (0, 1, 2, 2**22, 2**22 + 1, 2**31, 2**63, 2**64 - 1)
_LITERALS = ("NaN", "-Infinity", "1e999", "1" * 5000, "0." + "1" * 5000, "[" * 40 + "]" * 40, "[" * 5000, "01", "'a'", "", '"a')
_KEYS = ("", "weight", "kernel", "0.weight", "9.mask", "00.bias", "1.x" + "y" * 50, "\ud800")
_TEXTS = (b"[" * 100, b'{"a":' * 100, b"]", b"}", b'"', b"\\", b"\xff", b"\0", b"\\ud800")
_VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 4, 5, 7, 8, 255, 4096, 4097, 2**26, 2**31, 2**53, 2**63, 10**30, -1, -2, -(2**63),
    0.0, 1.0, -0.5, 1e308, "", "1", "a", "sign", "linear", "conv2d", "pad", "\x1b[2J", "\ud800", "x" * 5000, [], {},
    [0], [1], [1, 1], [2, 2], [0, 1], [3, 2], [-1, -1], [4096, 4096], [1.0, 1], [True, 1], ["1", "1"], [[[]]], {"a": 1},
    "U8", "I16", "I32", "F32", "F64", "__import__('os')",
]  # fmt: skip


def sealed(header: bytes, data: bytes) -> bytes:
    """A file with this header, in which zeros stand in the checksum's place, and its true checksum."""
    content = len(header).to_bytes(8, "little") + header + data
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode("ascii"), 1)


def resealed(content: bytes) -> bytes:
    """With its true checksum, if it has a place for one."""
    blank = _DIGITS.sub(b"0" * 64, content, count=1)
    return _DIGITS.sub(hashlib.sha256(blank).hexdigest().encode("ascii"), content, count=1)


class Case:
    """A valid file, taken apart to be changed."""

    def __init__(self, packed: Packed, random: Random) -> None:
        content = encode(packed)
        end = 8 + int.from_bytes(content[:8], "little")
        self.random, self.data, self.literal = random, content[end:], ""
        self.header = json.loads(content[8:end])
        self.metadata = self.header.pop("__metadata__")
        self.network = json.loads(self.metadata["bnn_train"])

    def content(self) -> bytes:
        """Put together again, and sealed."""
        network = json.dumps(self.network).replace('"@literal@"', self.literal)
        metadata = {**self.metadata, "sha256": "0" * 64, "bnn_train": network}
        text = json.dumps({"__metadata__": metadata, **self.header}).replace('"@literal@"', self.literal)
        return sealed(text.encode("utf-8", "surrogatepass"), self.data)

    def value(self) -> Any:
        if self.random.random() < 0.1:
            self.literal = self.random.choice(_LITERALS)
            return "@literal@"
        return copy.deepcopy(self.random.choice(_VALUES))

    def change_json(self, root: Any) -> None:
        """One place somewhere in nested lists and dicts."""
        holder = root
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                return
            key = self.random.choice(keys)
            if not isinstance(holder[key], dict | list) or not holder[key] or self.random.random() < 0.15:
                break
            holder = holder[key]
        way = self.random.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, list):
            holder.insert(key, self.random.choice([copy.deepcopy(holder[key]), self.value()]))
        elif way == 1:
            holder[self.random.choice(_KEYS)] = self.value()
        elif way == 2 and type(holder[key]) is int:
            holder[key] += self.random.choice([-1, 1, 2, -2, 8])
        elif way == 3 and isinstance(holder, list):
            self.random.shuffle(holder)
        else:
            holder[key] = self.value()


def _bytes(case: Case) -> bytes:
    random, content = case.random, bytearray(case.content())
    place = random.choice([random.randrange(len(content)), random.randrange(16)])
    way = random.randrange(7)
    if way == 0:
        del content[place:]
    elif way == 1:
        content += random.randbytes(random.choice([1, 8, 1000]))
    elif way == 2:
        content[place] ^= 1 << random.randrange(8)
    elif way == 3:
        content[place : place + random.randrange(1, 9)] = random.randbytes(random.randrange(9))
    elif way == 4:
        content[:8] = random.choice([*_SIZES, len(content) - 8, len(content)]).to_bytes(8, "little")
    elif way == 5:
        content = bytearray(random.randbytes(random.randrange(200)))
    else:
        end = 8 + int.from_bytes(content[:8], "little")
        for _ in range(random.randrange(1, 9)):
            content[random.randrange(end, len(content))] = random.randrange(256)
    return resealed(bytes(content)) if random.random() < 0.5 else bytes(content)


def _network(case: Case) -> bytes:
    for _ in range(case.random.choice([1, 1, 1, 2, 5])):
        operations = case.network.get("operations")
        case.change_json(operations if isinstance(operations, list) and case.random.random() < 0.7 else case.network)
    return case.content()


def _settings(case: Case) -> bytes:
    """Settings with small numbers, many of which make another network that is one."""
    random = case.random
    operations = [op for op in case.network["operations"] if op["settings"]]
    for _ in range(random.choice([1, 1, 2, 4])):
        settings = random.choice(operations)["settings"]
        key = random.choice(list(settings))
        if isinstance(settings[key], list):
            settings[key] = [random.choice([0, 1, 1, 2, 2, 3, 4, 6, 4096]) for _ in range(2)]
        elif isinstance(settings[key], bool):
            settings[key] = not settings[key]
        else:
            settings[key] = random.choice([-1, 0, 1, 2, 3, 4, 6, 12])
    if random.random() < 0.3:
        case.network["image_shape"] = [random.choice([1, 2, 3, 4, 5, 8, 4096]) for _ in range(3)]
        case.network["about"].pop("image_shape")
    return case.content()


def _wiring(case: Case) -> bytes:
    """Operations that take other values, and elementwise ones put between."""
    random, operations = case.random, case.network["operations"]
    for _ in range(random.choice([1, 1, 2, 4])):
        op = random.choice(operations)
        if random.random() < 0.5:
            op["inputs"] = [random.randrange(-1, len(operations) + 2) for _ in range(random.choice([1, 1, 2, 3, 0]))]
        elif op["kind"] in ("relu", "sigmoid", "add", "multiply", "concatenate", "flatten", "max_pool", "avg_pool"):
            op["kind"] = random.choice(["relu", "sigmoid", "add", "multiply", "concatenate", "flatten", "max_pool"])
    return case.content()


def _header(case: Case) -> bytes:
    for _ in range(case.random.choice([1, 1, 2])):
        case.change_json(case.header)
    if case.random.random() < 0.1:
        case.change_json(case.metadata)
    return case.content()


def _text(case: Case) -> bytes:
    """What only a text can be: a key twice, depth, other encodings, half characters."""
    random, content = case.random, case.content()
    end = 8 + int.from_bytes(content[:8], "little")
    text = _DIGITS.sub(b"0" * 64, content[8:end], count=1)
    way = random.randrange(7)
    if way == 0:
        entry = re.search(rb'"\d+\.\w+": \{[^}]*\}', text)
        text = text[:-1] + b", " + (entry[0] if entry else b'"a": 1') + b"}"
    elif way == 1:
        place = random.choice([match.end() for match in re.finditer(rb"[,:{\[]", text)])
        text = text[:place] + random.choice(_TEXTS) + text[place:]
    elif way == 2:
        text = text.replace(rb"\"name\"", rb"\"name\": \"a\", \"name\"", 1)
    elif way == 3:
        odd = random.choice([rb"\\ud800", rb"\\u001b[2J", rb"\\n", "\xfc".encode(), b"a" * 2000])
        text = text.replace(rb"\"name\": \"", rb"\"name\": \"" + odd, 1)
    elif way == 4:
        text = b" " * random.choice([0, 1, 7]) + text + b" " * random.choice([0, 1, 1000])
    elif way == 5:
        text = text.decode("ascii").encode(random.choice(["utf-16-le", "utf-16", "utf-32", "utf-8-sig"]))
    else:
        version = random.choice([b"2", b"0", b"true", b"1.0", b"-1", b"99999999999999999999", b"null"])
        text = text.replace(rb"format\": 1", rb"format\": " + version)
    return sealed(text, content[end:])


_WAYS: tuple[Callable[[Case], bytes], ...] = (_bytes, _bytes, _bytes, _network, _settings, _settings, _wiring, _header, _text)


def enormous() -> dict[str, bytes]:
    """As large as the limits let a header be, each one another way to keep a reader busy."""
    size = 2**22 - 300

    def around(network: str) -> bytes:
        metadata = {"sha256": "0" * 64, "bnn_train": network}
        return sealed(json.dumps({"__metadata__": metadata}, separators=(",", ":")).encode("ascii"), b"")

    def filled(text: str, item: str, last: str = "") -> str:
        return text.replace("@", item * ((size - 300) // (len(json.dumps(item)) - 2)) + last)

    network = '{"format":1,"image_shape":[1,1,1],"operations":[@],"about":{"classes":[]}}'
    op = '{"kind":"flatten","name":"@","inputs":[0],"settings":{}}'
    raw = b'{"__metadata__":{"sha256":"' + b"0" * 64 + b'","bnn_train":"'
    return {
        "empty lists": around(filled(network, "[],", "[]")),
        "empty objects": around(filled(network, "{},", "{}")),
        "numbers": around(filled(network, "1.5,", "1")),
        "a name of a megabyte": around(network.replace("@", op.replace("@", "a" * 2**20))),
        "inputs without end": around(network.replace("@", op.replace("[0]", filled("[@]", "0,", "0")))),
        "operations without end": around(filled(network, op + ",", op)),
        "brackets": around("[" * (size - 100)),
        "escaped quotes without an end": sealed(raw + b'\\"' * (size // 2), b""),
        "backslashes without an end": sealed(raw + b"\\" * size, b""),
        "quotes": sealed(raw + b'"' * size, b""),
        "digits": around(network.replace("@", "1" * (size - 200))),
        "digits behind the point": around(network.replace("@", "0." + "1" * (size - 200))),
        "a shape that multiplies to petabytes": sealed(
            raw + b'{}"},"0.weight":{"dtype":"F32","shape":[' + b"9" * 9 + b',1,1,1],"data_offsets":[0,0]}}', b""
        ),
    }


def damaged(random: Random, networks: list[Packed]) -> bytes:
    """One file."""
    return random.choice(_WAYS)(Case(random.choice(networks), random))
