"""The packed operations as calls of C functions, with the constants and the memory that they need."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value, inputs_of, unpacked_bits, weights
from bnn_train.deploy.sums import is_exact
from bnn_train.deploy.writers.c_parts import ROOMS, Buffer, Constants, Held, Template, image, place, size_of, words

# Of real sums: what a product adds, by weight and input.
_TERMS = {
    ("binary", "numbers"): """const size_t word = o * M_WORDS(l->inputs) + k / M_WORD_BITS, bit = k % M_WORD_BITS;
    const m_real number = (m_real)x[k];
    if (l->mask && !((l->mask[word] >> bit) & 1u))
        return 0;
    return (l->weight[word] >> bit) & 1u ? number : -number;""",
    ("real", "numbers"): "return (m_real)l->real[o * l->inputs + k] * (m_real)x[k];",
    ("real", "bits"): """const m_real weight = (m_real)l->real[o * l->inputs + k];
    if (inside && !m_bit(inside, k))
        return 0;
    return m_bit(x, k) ? weight : -weight;""",
}


class Program:
    """calls: the lines of the function that computes the scores; sizes: of the static arrays; scores: where they are then."""

    def __init__(self, packed: Packed) -> None:
        self.constants, self.template = Constants(), Template()
        self.template.use("core")
        self._steps: list[list[str | Held]] = []
        self._buffers: list[Buffer] = []
        self._ops = _signs_first(packed)
        self._known = infer(packed) if self._ops == packed.ops else infer(replace(packed, ops=tuple(map(_plain, self._ops))))
        uses = Counter(i for op in self._ops for i in op.inputs)
        # A sign behind a product that nothing else takes is drawn at once: 32 times less memory.
        self._fused = {
            op.inputs[0]: i
            for i, op in enumerate(self._ops)
            if op.kind == "sign" and uses[op.inputs[0]] == 1 and self._ops[op.inputs[0] - 1].kind in ("linear", "conv2d")
        }  # operation behind each such value
        thresholds = [op.tensors["threshold"] for op in self._ops if op.kind == "sign" and "threshold" in op.tensors]
        whole = [t for t in thresholds if t.dtype != np.float32]
        small = all(np.abs(t.astype(np.int64)).max(initial=0) < 2**15 for t in whole)
        self.threshold_type, self._threshold_size = ("int16_t", 2) if small else ("int32_t", 4)
        self._last_use = {i: step for step, op in enumerate(self._ops) for i in op.inputs}
        self._values: dict[int, Held] = {0: Held(self._known[0], None)}
        for i, op in enumerate(self._ops):
            self._operation(i, op)
        self.scores = self._values[len(self._ops)]
        if self.scores.buffer is not None:
            self.scores.buffer.last = len(self._steps)
        self.sizes = place(self._buffers)
        self.calls = ["".join(map(str, step)) for step in self._steps]

    def _operation(self, i: int, op: Op) -> None:
        if op.kind == "sign" and op.inputs[0] in self._fused:
            return
        x, known = [self._values[k] for k in op.inputs], self._known[i + 1]
        if op.kind in ("linear", "conv2d"):
            self._product(i, op, x[0], known)
        else:
            self._values[i + 1] = getattr(self, f"_{op.kind}")(i, op, known, *x)

    def _call(self, name: str, *arguments: str | int | Held) -> None:
        """A step. The buffers of its arguments are in use until now."""
        line: list[str | Held] = [f"{name}(" if name == "memcpy" else f"m_{name}("]
        for k, argument in enumerate(arguments):
            line += [", "] if k else []
            line.append(argument if isinstance(argument, Held) else str(argument))
            if isinstance(argument, Held) and argument.buffer is not None:
                argument.buffer.last = max(argument.buffer.last, len(self._steps))
        self._steps.append([*line, ");"])

    def _new(self, value: Value, size: int | None = None) -> Held:
        """Memory for a value that the next step makes."""
        buffer = Buffer(ROOMS[value.kind], size_of(value) if size is None else size, len(self._steps), len(self._steps))
        self._buffers.append(buffer)
        return Held(value, buffer)

    def _over(self, i: int, known: Value, x: Held) -> Held:
        """Memory for a result of the same shape: that of the input, where nothing else will read it."""
        if x.buffer is None or x.value.kind != known.kind or x.value.size != known.size:
            return self._new(known)
        sharing = [k for k, held in self._values.items() if held.buffer is x.buffer]
        return Held(known, x.buffer, x.start) if all(self._last_use.get(k, -1) <= i for k in sharing) else self._new(known)

    def _real(self, x: Held) -> Held:
        """The value as floats, for operations that round what they take."""
        if x.value.kind == "real":
            return x
        out = self._new(Value("real", x.value.shape))
        if x.value.kind == "bits":
            channels, height, width = image(x.value.shape)
            self.template.use("unpack")
            self._call("unpack", x, channels, height * width, out)
        else:
            self.template.use("float")
            self._call("float", x, x.value.size, out)
        return out

    def _numbers(self, x: Held) -> Held:
        """The value as numbers that are exact."""
        return self._real(x) if x.value.kind == "bits" else x

    def _product(self, i: int, op: Op, x: Held, known: Value) -> None:
        binary, whole, bits = op.tensors["weight"].dtype == np.uint8, known.kind == "whole", x.value.kind == "bits"
        sign = self._fused.get(i + 1)
        behind = self._ops[sign] if sign is not None else None
        layer = self._layer(i, op, x.value, known, behind)
        window = self._window(i, op, x.value, known)
        count = inputs_of(op, x.value.shape[0])
        pad = op.settings.get("pad_value", 0)
        padded = any(op.settings.get("padding", (0, 0)))
        direct = not padded and count == x.value.size and image(known.shape)[1:] == (1, 1) == image(x.value.shape)[1:]
        pixels = whole and x.value.kind == "bytes"
        patch: Held | str = "NULL"
        zeros: Held | str = "NULL"
        if pixels:
            patch = self._new(Value("bits", (count,)), 8 * words(count))
        elif not direct:
            patch = self._new(Value(x.value.kind, (count,)))
        if bits and padded and pad == 0:
            zeros = self._new(Value("bits", (count,)))
        if whole:
            self.template.use("popcount")
            self.template.use("whole")
            name = "bits_bytes" if pixels else "bits_bits"
            if not pixels:
                self.template.use("copy")
                self.template.use("patch_bits")
            self.template.use(name)
        else:
            name = self._real_product(binary, x)
        result = self._values[i + 1 if sign is None else sign + 1] = self._new(known if sign is None else self._known[sign + 1])
        outs = (result, "NULL") if sign is None else ("NULL", result)
        self._call(name, layer, window, x, pad, patch, zeros, *outs)

    def _real_product(self, binary: bool, x: Held) -> str:
        """The function for it."""
        self.template.use("exact")
        self.template.use("real")
        bits = x.value.kind == "bits"
        if bits:
            self.template.use("copy")
            self.template.use("patch_bits")
        else:
            self.template.use("patch", {"TYPE": x.type})
        name = f"{'binary' if binary else 'real'}_{x.value.kind}"
        changes = {
            "NAME": name, "TYPE": x.type, "PATCH": "bits" if bits else x.type, "LARGEST": "1" if bits else "0",
            "TERM": _TERMS["binary" if binary else "real", "bits" if bits else "numbers"],
            "KIND": f"{'Binary' if binary else 'Real'} weights, {x.value.kind}",
        }  # fmt: skip
        self.template.use("product", changes)
        return name

    def _layer(self, i: int, op: Op, x: Value, known: Value, sign: Op | None) -> str:
        count = inputs_of(op, x.shape[0])
        outputs, tensors, constants = op.settings["outputs"], op.tensors, self.constants
        binary = tensors["weight"].dtype == np.uint8

        def in_order(rows: np.ndarray) -> np.ndarray:
            """Under a kernel bits come channels last."""
            if x.kind != "bits" or op.kind == "linear":
                return rows
            return rows.reshape(outputs, -1, math.prod(op.settings["kernel"])).transpose(0, 2, 1).reshape(outputs, count)

        fields = dict.fromkeys(("weight", "mask", "real", "sizes", "offset", "bias", "threshold", "limit", "flip"), "NULL")
        exact = known.kind == "whole"
        if binary:
            fields["weight"] = constants.words(f"m_weight{i}", in_order(unpacked_bits(tensors["weight"], count)))
            if "mask" in tensors:
                fields["mask"] = constants.words(f"m_mask{i}", in_order(unpacked_bits(tensors["mask"], count)))
        else:
            fields["real"] = constants.floats(f"m_weight{i}", in_order(tensors["weight"]))
        if known.kind == "real":
            weight = weights(op, count)
            largest = {"bits": 1, "bytes": 255, "whole": x.largest}.get(x.kind)
            exact = largest is not None and is_exact(weight, tensors.get("bias"), max(largest, 1), 1.0)
            if not exact and not binary:
                sizes = np.abs(weight.astype(np.float64)).sum(axis=1) * (1 + 2.0**-20)
                fields["sizes"] = constants.floats(f"m_sizes{i}", np.nextafter(sizes.astype(np.float32), np.float32(np.inf)))
        if "offset" in tensors:
            fields["offset"] = constants.whole(f"m_offset{i}", tensors["offset"], "int32_t", 4)
        if "bias" in tensors:
            fields["bias"] = constants.floats(f"m_bias{i}", tensors["bias"])
        if sign is not None:
            fields["threshold" if known.kind == "whole" else "limit"] = self._threshold(i, sign)
            fields["flip"] = self._flip(i, sign, outputs)
        numbers = (str(outputs), str(op.settings.get("groups", 1)), str(count))
        named = [fields[name] for name in ("weight", "mask", "real", "sizes", "offset", "bias")]
        named += [str(int(exact)), *(fields[name] for name in ("threshold", "limit", "flip"))]
        return constants.struct("m_product", f"m_layer{i}", [*numbers, *named])

    def _threshold(self, i: int, sign: Op) -> str:
        values = sign.tensors["threshold"]
        if values.dtype == np.float32:
            return self.constants.floats(f"m_threshold{i}", values)
        return self.constants.whole(f"m_threshold{i}", values, "m_threshold", self._threshold_size)

    def _flip(self, i: int, op: Op, channels: int) -> str:
        flip = op.tensors.get("flip")
        return "NULL" if flip is None else self.constants.words(f"m_flip{i}", unpacked_bits(flip, channels))

    def _window(self, i: int, op: Op, x: Value, result: Value) -> str:
        numbers: list[int] = [*image(x.shape), *image(result.shape)[1:]]
        pairs = [op.settings.get(name, (s, s)) for name, s in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1))]
        fields = [*map(str, numbers), *(f"{{{pair[0]}, {pair[1]}}}" for pair in pairs)]
        return self.constants.struct("m_window", f"m_window{i}", fields)

    def _sign(self, i: int, op: Op, known: Value, x: Held) -> Held:
        self.template.use("sign", {"TYPE": x.type, "LIMIT": "float" if x.value.kind == "real" else "m_threshold"})
        out, (channels, height, width) = self._new(known), image(x.value.shape)
        self._call(f"sign_{x.type}", x, channels, height * width, self._threshold(i, op), self._flip(i, op, channels), out)
        return out

    def _normalise(self, i: int, op: Op, known: Value, x: Held) -> Held:
        self.template.use("normalise")
        out, (channels, height, width) = self._new(known), image(x.value.shape)
        self._call("normalise", x, channels, height * width, self.constants.floats(f"m_table{i}", op.tensors["table"]), out)
        return out

    def _affine(self, i: int, op: Op, known: Value, x: Held) -> Held:
        x = self._numbers(x)
        self.template.use("affine", {"TYPE": x.type})
        scale, shift = (self.constants.floats(f"m_{name}{i}", op.tensors[name]) for name in ("scale", "shift"))
        out, (channels, height, width) = self._over(i, known, x), image(x.value.shape)
        self._call(f"affine_{x.type}", x, channels, height * width, scale, shift, out)
        return out

    def _relu(self, i: int, op: Op, known: Value, x: Held) -> Held:
        x = self._real(x)
        self.template.use("relu")
        out = self._over(i, known, x)
        self._call("relu", x, known.size, out)
        return out

    def _prelu(self, i: int, op: Op, known: Value, x: Held) -> Held:
        x = self._real(x)
        self.template.use("prelu")
        out, (channels, height, width) = self._over(i, known, x), image(x.value.shape)
        slope = self.constants.floats(f"m_slope{i}", op.tensors["slope"])
        self._call("prelu", x, channels, height * width, slope, out)
        return out

    def _sigmoid(self, i: int, op: Op, known: Value, x: Held) -> Held:
        x = self._numbers(x)
        self.template.use("sigmoid", {"TYPE": x.type})
        out = self._over(i, known, x)
        self._call(f"sigmoid_{x.type}", x, known.size, out)
        return out

    def _pair(self, i: int, op: Op, known: Value, x: Held, y: Held, result: str) -> Held:
        x, y = self._real(x), self._real(y)
        self.template.use("pair", {"OPERATION": op.kind, "RESULT": result})
        shape = image(known.shape)
        steps = []
        for part in (x, y):
            own = image(part.value.shape)
            steps += [0 if n == 1 else math.prod(own[k + 1 :]) for k, n in enumerate(own)]
        shared = x.buffer is y.buffer and (x.start, x.value.size) != (
            y.start,
            y.value.size,
        )  # none may be overwritten
        out = self._new(known) if shared else self._over(i, known, x)
        name = self.constants.whole(f"m_steps{i}", np.array(steps), "size_t", 8)
        self._call(op.kind, x, y, *shape, name, out)
        return out

    def _add(self, i: int, op: Op, known: Value, x: Held, y: Held) -> Held:
        return self._pair(i, op, known, x, y, "a + b")

    def _multiply(self, i: int, op: Op, known: Value, x: Held, y: Held) -> Held:
        return self._pair(i, op, known, x, y, "(float)((m_real)a * (m_real)b)")

    def _max_pool(self, i: int, op: Op, known: Value, x: Held) -> Held:
        out, window = self._new(known), self._window(i, op, x.value, known)
        if known.kind == "bits":
            self.template.use("copy")
            self.template.use("max_pool_bits")
            self._call("max_pool_bits", window, x, self._flip(i, op, known.shape[0]), out)
        else:
            self.template.use("max_pool", {"TYPE": x.type})
            self._call(f"max_pool_{x.type}", window, x, out)
        return out

    def _avg_pool(self, i: int, op: Op, known: Value, x: Held) -> Held:
        x = self._numbers(x)
        self.template.use("exact")
        self.template.use("avg_pool")
        self.template.use("avg_pool_of", {"TYPE": x.type})
        out = self._new(known)
        window = self._window(i, op, x.value, known)
        self._call(f"avg_pool_{x.type}", window, x, int(op.settings["count_padding"]), out)
        return out

    def _concatenate(self, i: int, op: Op, known: Value, *parts: Held) -> Held:
        out, start = self._new(known), 0
        for part in parts:
            if known.kind != "bits":
                to = Held(known, out.buffer, start)
                self._call("memcpy", to, part, f"{part.value.size} * sizeof({part.type})")
                start += part.value.size
        if known.kind == "bits":
            self._clear(out)
            for part in parts:
                self._channels(part, 0, part.value.shape[0], out, start)
                start += part.value.shape[0]
        return out

    def _slice(self, i: int, op: Op, known: Value, x: Held) -> Held:
        if known.kind != "bits":
            return Held(known, x.buffer, x.start + op.settings["start"] * math.prod(known.shape[1:]))
        out = self._new(known)
        self._clear(out)
        self._channels(x, op.settings["start"], known.shape[0], out, 0)
        return out

    def _clear(self, out: Held) -> None:
        self._call("clear", out, out.value.size)

    def _channels(self, x: Held, first: int, count: int, out: Held, start: int) -> None:
        self.template.use("copy")
        self.template.use("channels")
        channels, height, width = image(x.value.shape)
        self._call("channels", x, height * width, channels, first, count, out, start, out.value.shape[0])

    def _pad(self, i: int, op: Op, known: Value, x: Held) -> Held:
        around = np.array([*op.settings["rows"], *op.settings["columns"]])
        name, out = self.constants.whole(f"m_around{i}", around, "size_t", 8), self._new(known)
        if known.kind == "bits":
            self.template.use("copy")
            self.template.use("pad_bits")
        else:
            self.template.use("pad", {"TYPE": x.type})
        call = "pad_bits" if known.kind == "bits" else f"pad_{x.type}"
        self._call(call, x, *image(x.value.shape), name, op.settings["pad_value"], out)
        return out

    def _flatten(self, i: int, op: Op, known: Value, x: Held) -> Held:
        channels, height, width = image(x.value.shape)
        if known.kind != "bits" or 1 in (channels, height * width):
            return Held(known, x.buffer, x.start)  # the same memory
        self.template.use("flatten")
        out = self._new(known)
        self._call("flatten", x, channels, height * width, out)
        return out


def _plain(op: Op) -> Op:
    """As deploy/infer.py knows it: a pool turns no signs there."""
    return replace(op, tensors={}) if op.kind == "max_pool" else op


def _signs_first(packed: Packed) -> Sequence[Op]:
    """The sign of a maximum is the maximum of signs: a pool of bits costs a thirty-second. Which turn is turned behind it."""
    ops = list(packed.ops)
    uses = Counter(i for op in ops for i in op.inputs)
    for i, op in enumerate(packed.ops):
        pool = op.inputs[0] - 1
        if op.kind == "sign" and pool >= 0 and ops[pool].kind == "max_pool" and uses[op.inputs[0]] == 1:
            sign = {name: tensor for name, tensor in op.tensors.items() if name != "flip"}
            flip = {name: tensor for name, tensor in op.tensors.items() if name == "flip"}
            ops[i] = Op("max_pool", ops[pool].name, op.inputs, ops[pool].settings, flip)
            ops[pool] = Op("sign", op.name, ops[pool].inputs, {}, sign)
    return tuple(ops)
