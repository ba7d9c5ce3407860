"""Three small networks that have every operation of an exported file, for scripts/fuzz_format.py and the tests."""

from typing import Any

import numpy as np

from bnn_train.deploy.packed import Op, Packed


def small_networks() -> list[Packed]:
    """A perceptron, a network with a convolution of each kind, and one with everything else."""
    random = np.random.default_rng(0)

    def real(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    def bits(rows: int, columns: int) -> np.ndarray:
        return np.packbits(random.integers(0, 2, (rows, columns), np.uint8), axis=1)

    def conv(outputs: int, kernel: int, pad: int = 0, **more: int) -> dict[str, Any]:
        sizes = {"kernel": kernel, "padding": pad, "stride": more.get("stride", 1), "dilation": more.get("dilation", 1)}
        pairs = {name: [size, size] for name, size in sizes.items()}
        return {"outputs": outputs, "groups": more.get("groups", 1), "pad_value": more.get("value", 0), **pairs}

    def about(classes: int, *shape: int) -> dict[str, Any]:
        names, data = [f"class {i}" for i in range(classes)], {"name": "digits", "image_size": None, "mean": [0.5]}
        return {"classes": names, "image_shape": list(shape), "data": data, "epoch": 3, "kind": "last"}

    pool = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "ceil": False}
    weight = bits(3, 10)
    pruned = {"weight": weight, "mask": weight | bits(3, 10), "offset": np.array([1, -2, 0], np.int32)}
    mlp = (
        Op("flatten", "flatten", (0,)),
        Op("linear", "linear1", (1,), {"outputs": 10}, {"weight": bits(10, 12)}),
        Op("sign", "sign1", (2,), {}, {"threshold": np.arange(10, dtype=np.int16), "flip": bits(1, 10)}),
        Op("linear", "linear2", (3,), {"outputs": 3}, pruned),
        Op("affine", "norm", (4,), {}, {"scale": real(3), "shift": real(3)}),
    )
    cnn = (
        Op("normalise", "normalise", (0,), {}, {"table": real(2, 256)}),
        Op("conv2d", "real", (1,), conv(4, 3, pad=1), {"weight": real(4, 18), "bias": real(4)}),
        Op("sign", "sign1", (2,), {}, {"threshold": np.array([0, -np.inf, 0.5, np.inf], np.float32)}),
        Op("conv2d", "binary", (3,), conv(6, 3, pad=1, value=-1, groups=2), {"weight": bits(6, 18)}),
        Op("max_pool", "pool", (4,), {**pool, "ceil": True, "padding": [1, 1]}),
        Op("sign", "sign2", (5,), {}, {"threshold": np.arange(-3, 3, dtype=np.int32)}),
        Op("conv2d", "dilated", (6,), conv(3, 2, pad=1, dilation=2, stride=2), {"weight": bits(3, 24)}),
        Op("avg_pool", "mean", (7,), {**pool, "kernel": [2, 1], "stride": [1, 1], "count_padding": True}),
        Op("flatten", "flatten", (8,)),
        Op("linear", "output", (9,), {"outputs": 2}, {"weight": real(2, 6), "bias": real(2)}),
    )
    pixels = Op("conv2d", "pixels", (0,), conv(4, 2), {"weight": bits(4, 4)})
    rest = (
        pixels,
        Op("sign", "sign", (1,), {}, {"threshold": np.array([-9, 0, 9, 99], np.int16)}),
        Op("pad", "pad", (2,), {"rows": [0, 1], "columns": [1, 0], "pad_value": 1}),
        Op("slice", "slice", (3,), {"start": 1, "stop": 3}),
        Op("concatenate", "cat", (4, 4)),
        Op("conv2d", "ternary", (5,), conv(4, 1, pad=1), {"weight": bits(4, 4)}),
        Op("relu", "relu", (6,)),
        Op("prelu", "prelu", (7,), {}, {"slope": real(4)}),
        Op("clamp", "clamp", (8,), {}, {"limits": np.array([-1, 1], np.float32)}),
        Op("avg_pool", "squeeze", (9,), {**pool, "kernel": [6, 6], "stride": [6, 6], "count_padding": False}),
        Op("sigmoid", "gate", (10,)),
        Op("multiply", "gated", (9, 11)),
        Op("add", "shortcut", (12, 6)),
        Op("conv2d", "signs of reals", (13,), conv(2, 6), {"weight": bits(2, 144), "bias": real(2)}),
        Op("flatten", "flatten", (14,)),
    )
    return [
        Packed((3, 2, 2), mlp, about(3, 3, 2, 2)),
        Packed((2, 5, 4), cnn, about(2, 2, 5, 4)),
        Packed((1, 4, 4), rest, about(2, 1, 4, 4)),
    ]
