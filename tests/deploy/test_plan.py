"""The runner's steps against the plain reference, on random networks of every operation that a file can hold."""

import numpy as np
import pytest

from bnn_train.deploy import plan as plan_module
from bnn_train.deploy import reference
from bnn_train.deploy.infer import infer, result_of
from bnn_train.deploy.packed import Op, Packed, Unfit, Value, packed_bits
from bnn_train.deploy.plan import plan
from bnn_train.kernels.products import installed


class Maker:
    """Adds random operations that fit what is there."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.shape = (self.number(1, 4), self.number(3, 8), self.number(3, 8))
        self.ops = []

    def number(self, low, high):
        return int(self.random.integers(low, high))

    def add(self, kind, *inputs, settings=None, **tensors):
        """The number of the value, or None where it does not fit."""
        op = Op(kind, f"{kind}{len(self.ops)}", inputs, settings or {}, tensors)
        try:
            value = infer_all(Packed(self.shape, (*self.ops, op)))[-1]
        except Unfit:
            return None
        if value.size > 2000:
            return None
        self.ops.append(op)
        return len(self.ops)

    def floats(self, n):
        return self.random.normal(size=n).astype(np.float32)

    def weight(self, outputs, inputs, real):
        if real:
            return {"weight": self.random.normal(size=(outputs, inputs)).astype(np.float32), "bias": self.floats(outputs)}
        signs = self.random.choice([-1, 1], (outputs, inputs))
        tensors = {"weight": packed_bits(signs)}
        if self.random.random() < 0.4:
            mask = self.random.random((outputs, inputs)) < 0.7
            mask[0] = False
            tensors = {"weight": packed_bits(signs * mask), "mask": packed_bits(mask)}
        if self.random.random() < 0.4:
            tensors["offset"] = self.random.integers(-9, 9, outputs).astype(np.int32)
        return tensors

    def product(self, x, value):
        real = self.random.random() < {"real": 0.5, "bits": 0.2}.get(value.kind, 0)
        outputs = self.number(1, 20)
        if len(value.shape) == 1:
            tensors = self.weight(outputs, value.shape[0], real)
            return self.add("linear", x, settings={"outputs": outputs}, **self.fit(tensors, value))
        groups = int(self.random.choice([g for g in (1, 1, 2, value.shape[0]) if value.shape[0] % g == 0]))
        kernel = [self.number(1, 4), self.number(1, 4)]
        settings = {
            "outputs": outputs * groups,
            "groups": groups,
            "kernel": kernel,
            "stride": [self.number(1, 3), self.number(1, 3)],
            "dilation": [self.number(1, 3), self.number(1, 3)],
            "padding": [0, 0] if value.kind == "bytes" else [self.number(0, 3), self.number(0, 3)],
            "pad_value": 0 if value.kind == "bytes" else self.number(-1, 2),
        }
        tensors = self.weight(outputs * groups, value.shape[0] // groups * kernel[0] * kernel[1], real)
        return self.add("conv2d", x, settings=settings, **self.fit(tensors, value))

    def fit(self, tensors, value):
        if value.kind not in ("bits", "bytes"):
            tensors.pop("offset", None)
        return tensors

    def sign(self, x, value):
        n = value.shape[0]
        flip = {"flip": packed_bits(self.random.choice([0, 1], (1, n)))} if self.random.random() < 0.5 else {}
        threshold = self.random.integers(-5, 5, n).astype(self.random.choice([np.int16, np.int32]))
        if value.kind == "real":
            threshold = np.where(self.random.random(n) < 0.2, np.inf, self.floats(n)).astype(np.float32)
        return self.add("sign", x, threshold=threshold, **flip)

    def pool(self, x, value):
        kernel = [self.number(1, 4), self.number(1, 4)]
        settings = {"kernel": kernel, "stride": [self.number(1, 4), self.number(1, 4)], "ceil": bool(self.number(0, 2))}
        settings["padding"] = [self.number(0, k // 2 + 1) for k in kernel]
        if self.number(0, 2):
            return self.add("max_pool", x, settings=settings)
        if len(value.shape) == 3 and self.random.random() < 0.3:
            settings.update(kernel=list(value.shape[1:]), stride=[1, 1], padding=[0, 0])
        return self.add("avg_pool", x, settings={**settings, "count_padding": bool(self.number(0, 2))})

    def elementwise(self, x, value):
        kind = self.random.choice(["affine", "relu", "prelu", "clamp", "sigmoid"])
        n = value.shape[0]
        tensors = {
            "affine": {"scale": self.floats(n), "shift": self.floats(n)},
            "prelu": {"slope": self.floats(n)},
            "clamp": {"limits": np.sort(self.floats(2))},
        }.get(kind, {})
        return self.add(str(kind), x, **tensors)

    def shape_of(self, x, value):
        kind = self.random.choice(["flatten", "slice", "pad"])
        if kind == "flatten":
            return self.add("flatten", x)
        if kind == "slice":
            start = self.number(0, value.shape[0])
            return self.add("slice", x, settings={"start": start, "stop": self.number(start, value.shape[0]) + 1})
        sides = {"rows": [self.number(0, 3), self.number(0, 3)], "columns": [self.number(0, 3), self.number(0, 3)]}
        return self.add("pad", x, settings={**sides, "pad_value": self.number(-1, 2)})

    def pair(self, x, value, values):
        partners = [i for i, other in enumerate(values) if len(other.shape) == len(value.shape)]
        y = int(self.random.choice(partners))
        return self.add(str(self.random.choice(["add", "multiply", "concatenate"])), x, y)

    def network(self):
        self.add("normalise", 0, table=self.random.normal(size=(self.shape[0], 256)).astype(np.float32))
        for _ in range(40):
            values = infer_all(Packed(self.shape, tuple(self.ops)))
            x = len(values) - 1 if self.random.random() < 0.6 else self.number(0, len(values))
            value = values[x]
            draw = self.random.random()
            if draw < 0.25:
                self.product(x, value)
            elif draw < 0.5:
                self.sign(x, value)
            elif draw < 0.65:
                self.pool(x, value)
            elif draw < 0.75:
                self.elementwise(x, value)
            elif draw < 0.85:
                self.shape_of(x, value)
            else:
                self.pair(x, value, values)
        last = infer_all(Packed(self.shape, tuple(self.ops)))[-1]
        if len(last.shape) == 3:
            self.add("flatten", len(self.ops))
            last = infer_all(Packed(self.shape, tuple(self.ops)))[-1]
        weight = self.random.normal(size=(3, last.shape[0])).astype(np.float32)
        self.ops.append(Op("linear", "head", (len(self.ops),), {"outputs": 3}, {"weight": weight}))
        return Packed(self.shape, tuple(self.ops))


def infer_all(packed):
    """As infer, for a network that has no head yet."""
    values = [Value("bytes", packed.image_shape)]
    for op in packed.ops:
        values.append(result_of(op, values))
    return values


@pytest.mark.parametrize("block", range(6))
def test_random_networks_give_the_references_bits(block):
    for seed in range(10 * block, 10 * block + 10):
        packed = Maker(seed).network()
        infer(packed)
        images = np.random.default_rng(seed).integers(0, 256, (3, *packed.image_shape), dtype=np.uint8)
        with np.errstate(all="ignore"):
            scores = reference.run(packed, images)[-1].astype(np.float32)
            for engine in [None, *installed()][seed % 2 :: 2]:
                assert np.array_equal(plan(packed, engine).run(images), scores, equal_nan=True), seed
            assert plan(packed).run(images[:0]).shape == (0, 3)


def test_every_operation_is_among_them():
    kinds = {op.kind for seed in range(60) for op in Maker(seed).network().ops}
    assert kinds == set(reference.OPERATIONS)


def ops_of(*layers):
    return tuple(Op(kind, kind, (i,), settings, tensors) for i, (kind, settings, tensors) in enumerate(layers))


def test_values_are_let_go_after_their_last_use():
    signs = packed_bits(np.ones((4, 4)))
    zero = np.zeros(4, np.int16)
    layers = [("flatten", {}, {}), *[("linear", {"outputs": 4}, {"weight": signs}), ("sign", {}, {"threshold": zero})] * 2]
    packed = Packed((1, 2, 2), ops_of(*layers, ("linear", {"outputs": 4}, {"weight": signs})))
    made = plan(packed)
    assert [stage.outputs[0] for stage in made.stages] == [1, 3, 5, 6]  # a product and its sign are one step
    assert [stage.done for stage in made.stages] == [(0,), (1,), (3,), (5,)]


def test_the_work_of_an_image_counts_a_convolutions_patches():
    def of(size):
        settings = {
            "outputs": 8,
            "groups": 1,
            "kernel": [3, 3],
            "stride": [1, 1],
            "dilation": [1, 1],
            "padding": [0, 0],
            "pad_value": 0,
        }
        tensors = {"weight": packed_bits(np.ones((8, 9)))}
        head = ("linear", {"outputs": 2}, {"weight": np.ones((2, 8 * (size - 2) ** 2), np.float32)})
        return plan(Packed((1, size, size), ops_of(("conv2d", settings, tensors), ("flatten", {}, {}), head))).bytes_per_image

    assert of(10) == 64 * 72 + 64 * 8
    assert of(18) == 4 * of(10)


def test_a_kernel_that_gives_wrong_numbers_is_not_used(monkeypatch, caplog):
    """As one might on a processor that nobody has tried."""
    if "llvm" not in installed():
        pytest.skip("no kernels are compiled here")
    random = np.random.default_rng(0)
    conv = {"outputs": 8, "kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1, "pad_value": 0}
    ops = (
        Op("normalise", "n", (0,), {}, {"table": np.linspace(-1, 1, 256, dtype=np.float32)[None]}),
        Op("sign", "s", (1,), {}, {"threshold": np.zeros(1, np.float32)}),
        Op("conv2d", "c", (2,), conv, {"weight": packed_bits(random.choice([-1, 1], (8, 9)))}),
        Op("sign", "t", (3,), {}, {"threshold": np.zeros(8, np.int16)}),
        Op("flatten", "f", (4,)),
        Op("linear", "head", (5,), {"outputs": 3}, {"weight": random.normal(size=(3, 128)).astype(np.float32)}),
    )
    packed = Packed((1, 4, 4), ops)
    made = plan_module.fused

    def wrong(*arguments):
        kernel = made(*arguments)
        return lambda *batches: tuple(values ^ 1 if values.dtype == np.uint8 else values + 1 for values in kernel(*batches))

    monkeypatch.setattr(plan_module, "fused", wrong)
    images = random.integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    assert np.array_equal(plan(packed, "llvm").run(images), reference.run(packed, images)[-1])
    assert "gives wrong numbers on this processor" in caplog.text
