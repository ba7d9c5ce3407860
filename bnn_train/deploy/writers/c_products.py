"""Products with weights as calls of C functions: their constants, and the sign behind them."""

import math

import numpy as np

from bnn_train.deploy.packed import Op, Value, inputs_of, unpacked_bits, weights
from bnn_train.deploy.sums import is_exact
from bnn_train.deploy.writers.c_parts import Held, image, words
from bnn_train.deploy.writers.c_program import Program

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


def product(p: Program, i: int, op: Op, x: Held, known: Value) -> None:
    binary, whole, bits = op.tensors["weight"].dtype == np.uint8, known.kind == "whole", x.value.kind == "bits"
    sign = p.fused.get(i + 1)
    behind = p.ops[sign] if sign is not None else None
    layer = _layer(p, i, op, x.value, known, behind)
    window = window_of(p, i, op, x.value, known)
    count = inputs_of(op, x.value.shape[0])
    pad = op.settings.get("pad_value", 0)
    padded = any(op.settings.get("padding", (0, 0)))
    direct = not padded and count == x.value.size and image(known.shape)[1:] == (1, 1) == image(x.value.shape)[1:]
    pixels = whole and x.value.kind == "bytes"
    patch: Held | str = "NULL"
    zeros: Held | str = "NULL"
    if pixels:
        patch = p.new(Value("bits", (count,)), 8 * words(count))
    elif not direct:
        patch = p.new(Value(x.value.kind, (count,)))
    if bits and padded and pad == 0:
        zeros = p.new(Value("bits", (count,)))
    if whole:
        p.template.use("popcount")
        p.template.use("whole")
        name = "bits_bytes" if pixels else "bits_bits"
        if not pixels:
            p.template.use("copy")
            p.template.use("patch_bits")
        p.template.use(name)
    else:
        name = _real_product(p, binary, x)
    result = p.values[i + 1 if sign is None else sign + 1] = p.new(known if sign is None else p.known[sign + 1])
    outs = (result, "NULL") if sign is None else ("NULL", result)
    p.call(name, layer, window, x, pad, patch, zeros, *outs)


def _real_product(p: Program, binary: bool, x: Held) -> str:
    """The function for it."""
    p.template.use("exact")
    p.template.use("real")
    bits = x.value.kind == "bits"
    if bits:
        p.template.use("copy")
        p.template.use("patch_bits")
    else:
        p.template.use("patch", {"TYPE": x.type})
    name = f"{'binary' if binary else 'real'}_{x.value.kind}"
    changes = {
        "NAME": name, "TYPE": x.type, "PATCH": "bits" if bits else x.type, "LARGEST": "1" if bits else "0",
        "TERM": _TERMS["binary" if binary else "real", "bits" if bits else "numbers"],
        "KIND": f"{'Binary' if binary else 'Real'} weights, {x.value.kind}",
    }  # fmt: skip
    p.template.use("product", changes)
    return name


def _layer(p: Program, i: int, op: Op, x: Value, known: Value, sign: Op | None) -> str:
    count = inputs_of(op, x.shape[0])
    outputs, tensors, constants = op.settings["outputs"], op.tensors, p.constants
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
        fields["threshold" if known.kind == "whole" else "limit"] = threshold(p, i, sign)
        fields["flip"] = flip(p, i, sign, outputs)
    numbers = (str(outputs), str(op.settings.get("groups", 1)), str(count))
    named = [fields[name] for name in ("weight", "mask", "real", "sizes", "offset", "bias")]
    named += [str(int(exact)), *(fields[name] for name in ("threshold", "limit", "flip"))]
    return constants.struct("m_product", f"m_layer{i}", [*numbers, *named])


def threshold(p: Program, i: int, sign: Op) -> str:
    values = sign.tensors["threshold"]
    if values.dtype == np.float32:
        return p.constants.floats(f"m_threshold{i}", values)
    return p.constants.whole(f"m_threshold{i}", values, "m_threshold", p.threshold_size)


def flip(p: Program, i: int, op: Op, channels: int) -> str:
    if "flip" not in op.tensors:
        return "NULL"
    return p.constants.words(f"m_flip{i}", unpacked_bits(op.tensors["flip"], channels))


def window_of(p: Program, i: int, op: Op, x: Value, result: Value) -> str:
    numbers: list[int] = [*image(x.shape), *image(result.shape)[1:]]
    pairs = [op.settings.get(name, (s, s)) for name, s in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1))]
    fields = [*map(str, numbers), *(f"{{{pair[0]}, {pair[1]}}}" for pair in pairs)]
    return p.constants.struct("m_window", f"m_window{i}", fields)
