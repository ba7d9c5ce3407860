"""How fast this machine multiplies, and how exactly: the products of one binary layer by torch and by kernels.

    python scripts/bench_products.py
    python scripts/bench_products.py --isa avx2    # every library kept to AVX2

For each layer: `forward` of two factors of -1 and +1, and `backward`, both products with a gradient. Kernels count bits forward,
and look sums up in tables backward. The error is that of the gradients, relative to float64, in norm. Medians of several rounds,
in turns.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import usage
from benching import in_process, keep_to, machine

from bnn_train import startup

startup.prepare()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from bnn_train.binary import products  # noqa: E402
from bnn_train.binary.packed import PackedWeights  # noqa: E402
from bnn_train.binary.products import Conv2d, Geometry, Linear  # noqa: E402
from bnn_train.binary.ste import sign_int8  # noqa: E402

ROUNDS = 11
KINDS = ("float32", "bfloat16", "kernels")
LAYERS: dict[str, tuple[Geometry, tuple[int, ...], tuple[int, ...]]] = {  # shapes of x and w
    "linear 2048 to 2048, batch 100": (Linear(), (100, 2048), (2048, 2048)),
    "conv 64 to 64, 32x32, batch 128": (Conv2d((1, 1), (1, 1), (1, 1), 0), (128, 64, 32, 32), (64, 64, 3, 3)),
    "conv 16 to 16, 32x32, batch 128": (Conv2d((1, 1), (1, 1), (1, 1), 0), (128, 16, 32, 32), (16, 16, 3, 3)),
    "conv 256 to 256, 8x8, batch 128": (Conv2d((1, 1), (1, 1), (1, 1), 0), (128, 256, 8, 8), (256, 256, 3, 3)),
}


def real_gradients(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim == 2:
        return g @ w, g.t() @ x
    one, none = [1, 1], [0, 0]
    of_x, of_w, _ = torch.ops.aten.convolution_backward(g, x, w, None, one, one, one, False, none, 1, [True, True, False])
    return of_x, of_w


def real_product(x: Tensor, w: Tensor) -> Tensor:
    return x @ w.t() if x.ndim == 2 else torch.nn.functional.conv2d(x, w, padding=1)


def gradients(kind: str, geometry: Geometry, g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    if kind == "kernels":
        return tuple(of for of in products.gradients(geometry, g, x, w) if of is not None)
    return real_gradients(*(t.to(getattr(torch, kind)) for t in (g, x, w)))


def error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    off = sum(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True))
    return off / len(exact)


def measured(geometry: Geometry, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> dict[str, list[float]]:
    """Of each kind: milliseconds forward and backward, error of the gradients."""
    torch.manual_seed(0)
    layout = torch.channels_last if len(x_shape) == 4 else torch.contiguous_format
    x, w = (sign_int8(torch.randn(shape)).contiguous(memory_format=layout) for shape in (x_shape, w_shape))
    packed = PackedWeights()

    def counted() -> Tensor:  # weights are packed anew, as after each step
        return packed.product(geometry, x, lambda: w, w.shape, pruned=False, is_fixed=False)

    g = torch.randn_like(counted())
    todo: dict[str, Callable[[], object]] = {"kernels forward": counted}
    todo["kernels backward"] = lambda: products.gradients(geometry, g, x, w)
    for dtype in (torch.float32, torch.bfloat16):
        a, b, c = (t.to(dtype) for t in (x, w, g))
        todo[f"{str(dtype)[6:]} forward"] = lambda a=a, b=b: real_product(a, b)  # type: ignore[misc]
        todo[f"{str(dtype)[6:]} backward"] = lambda a=a, b=b, c=c: real_gradients(c, a, b)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, function in todo.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    exact = gradients("float64", geometry, g, x, w)
    found = {}
    for kind in KINDS:
        found[kind] = [1000 * statistics.median(times[f"{kind} {way}"][1:]) for way in ("forward", "backward")]
        found[kind].append(error(gradients(kind, geometry, g, x, w), exact))
    return found


def worker(isa: str | None) -> dict[str, Any]:
    keep_to(isa)
    return {title: measured(*layer) for title, layer in LAYERS.items()}


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--isa", choices=["avx2"], help="keep every library to this instruction set")
    options = parser.parse_args()
    found = in_process(sys.executable, "bench_products.py", "--worker", json.dumps(options.isa), isa=options.isa)
    print(f"{machine(options.isa)}, {torch.get_num_threads()} threads")
    for title, kinds in found.items():
        print(f"\n{title}")
        for kind, (forward, backward, off) in kinds.items():
            print(f"  {kind:9} forward {forward:7.2f} ms, backward {backward:7.2f} ms, gradients off by {off:.0e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(worker(json.loads(sys.argv[2]))))
    else:
        main()
