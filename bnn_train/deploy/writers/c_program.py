"""The C function that computes the scores, while it grows: its calls, and the constants, memory and pieces of code they need."""

from collections import Counter
from dataclasses import replace

import numpy as np

from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value
from bnn_train.deploy.writers.c_parts import ROOMS, Buffer, Constants, Held, Template, image, place, size_of


class Program:
    """ops: as they are computed, see `_signs_first`; known, values: what is known of each value, and where it lies.

    fused: of values that only a sign takes, which are never there, the operation that is this sign. scores: the last value.
    """

    def __init__(self, packed: Packed) -> None:
        self.constants, self.template = Constants(), Template()
        self.template.use("core")
        self._steps: list[list[str | Held]] = []
        self._buffers: list[Buffer] = []
        self.ops = _signs_first(packed)
        self.known = infer(replace(packed, ops=tuple(map(_plain, self.ops))))
        self.values: dict[int, Held] = {0: Held(self.known[0], None)}
        uses = Counter(i for op in self.ops for i in op.inputs)
        # A sign behind a product that nothing else takes is drawn at once: 32 times less memory.
        self.fused = {
            op.inputs[0]: i
            for i, op in enumerate(self.ops)
            if op.kind == "sign" and uses[op.inputs[0]] == 1 and self.ops[op.inputs[0] - 1].kind in ("linear", "conv2d")
        }
        self._last_use = {i: step for step, op in enumerate(self.ops) for i in op.inputs}
        thresholds = [op.tensors["threshold"] for op in self.ops if op.kind == "sign"]
        small = all(np.abs(t.astype(np.int64)).max() < 2**15 for t in thresholds if t.dtype != np.float32)
        self.threshold_type, self.threshold_size = ("int16_t", 2) if small else ("int32_t", 4)

    @property
    def scores(self) -> Held:
        return self.values[len(self.ops)]

    def finish(self) -> tuple[list[str], dict[str, int]]:
        """(the lines of the function, the sizes of the static arrays). Everything has its place then."""
        if self.scores.buffer is not None:
            self.scores.buffer.last = len(self._steps)
        sizes = place(self._buffers)
        return ["".join(map(str, step)) for step in self._steps], sizes

    def call(self, name: str, *arguments: str | int | Held) -> None:
        """A step. The buffers of its arguments are in use until now."""
        line: list[str | Held] = [f"{name}(" if name == "memcpy" else f"m_{name}("]
        for k, argument in enumerate(arguments):
            line += [", "] if k else []
            line.append(argument if isinstance(argument, Held) else str(argument))
            if isinstance(argument, Held) and argument.buffer is not None:
                argument.buffer.last = max(argument.buffer.last, len(self._steps))
        self._steps.append([*line, ");"])

    def new(self, value: Value, size: int | None = None) -> Held:
        """Memory for a value that the next step makes."""
        buffer = Buffer(ROOMS[value.kind], size_of(value) if size is None else size, len(self._steps), len(self._steps))
        self._buffers.append(buffer)
        return Held(value, buffer)

    def over(self, i: int, known: Value, x: Held) -> Held:
        """Memory for a result of the same shape: that of the input, where nothing else will read it."""
        if x.buffer is None or x.value.kind != known.kind or x.value.size != known.size:
            return self.new(known)
        sharing = [k for k, held in self.values.items() if held.buffer is x.buffer]
        return Held(known, x.buffer, x.start) if all(self._last_use.get(k, -1) <= i for k in sharing) else self.new(known)

    def as_real(self, x: Held) -> Held:
        """The value as floats, for operations that round what they take."""
        if x.value.kind == "real":
            return x
        out = self.new(Value("real", x.value.shape))
        if x.value.kind == "bits":
            channels, height, width = image(x.value.shape)
            self.template.use("unpack")
            self.call("unpack", x, channels, height * width, out)
        else:
            self.template.use("float")
            self.call("float", x, x.value.size, out)
        return out

    def as_numbers(self, x: Held) -> Held:
        """The value as numbers that are exact."""
        return self.as_real(x) if x.value.kind == "bits" else x


def _plain(op: Op) -> Op:
    """As deploy/infer.py knows it: a pool turns no signs there."""
    return replace(op, tensors={}) if op.kind == "max_pool" else op


def _signs_first(packed: Packed) -> tuple[Op, ...]:
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
