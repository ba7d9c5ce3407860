"""How fast this machine multiplies, and how exactly: the products of one binary layer in float32, bfloat16 and int8.

    python scripts/bench_products.py

For each layer: `forward` of two factors of -1 and +1, and `backward`, both products with a gradient. int8 backward is that of
trainer.precision=fast. The error is that of the gradients, relative to float64, in norm. Medians of several rounds, in turns.
"""

import statistics
import time
from collections.abc import Callable

from bnn_train import startup

startup.prepare()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from bnn_train.binary.products import Conv2d, Geometry, Linear  # noqa: E402
from bnn_train.binary.ste import sign_int8  # noqa: E402
from bnn_train.binary.ways import int8_is_fast  # noqa: E402

ROUNDS = 11
LAYERS: dict[str, tuple[Geometry, tuple[int, ...], tuple[int, ...]]] = {  # shapes of x and w
    "linear 2048 to 2048, batch 100": (Linear(), (100, 2048), (2048, 2048)),
    "conv 64 to 64, 32x32, batch 128": (Conv2d((1, 1), (1, 1), (1, 1), 0), (128, 64, 32, 32), (64, 64, 3, 3)),
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
    if kind == "int8":
        return tuple(of for of in geometry.gradients(g, x, w, fast=True) if of is not None)
    return real_gradients(*(t.to(getattr(torch, kind)) for t in (g, x, w)))


def error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    off = sum(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True))
    return off / len(exact)


def main() -> None:
    print(f"{torch.get_num_threads()} threads, int8 {'is' if int8_is_fast(torch.device('cpu')) else 'is not'} used here")
    for title, (geometry, x_shape, w_shape) in LAYERS.items():
        torch.manual_seed(0)
        layout = torch.channels_last if len(x_shape) == 4 else torch.contiguous_format
        x, w = (sign_int8(torch.randn(shape)).contiguous(memory_format=layout) for shape in (x_shape, w_shape))
        g = torch.randn_like(geometry.forward(x, w))
        reals = {dtype: [t.to(dtype) for t in (x, w, g)] for dtype in (torch.float32, torch.bfloat16)}

        todo: dict[str, Callable[[], object]] = {"int8 forward": lambda: geometry.forward(x, w)}  # noqa: B023
        todo["int8 backward"] = lambda: geometry.gradients(g, x, w, fast=True)  # noqa: B023
        for dtype in (torch.float32, torch.bfloat16):
            a, b, c = reals[dtype]
            todo[f"{str(dtype)[6:]} forward"] = lambda a=a, b=b: real_product(a, b)  # type: ignore[misc]
            todo[f"{str(dtype)[6:]} backward"] = lambda a=a, b=b, c=c: real_gradients(c, a, b)  # type: ignore[misc]
        times: dict[str, list[float]] = {name: [] for name in todo}
        for _ in range(ROUNDS + 1):  # the first warms up
            for name, function in todo.items():
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
        print(f"\n{title}")
        # Late in training a few images have most of the gradient: theirs are larger by factors up to some hundreds.
        uneven = g * torch.randn(len(g)).mul_(2).exp_().view(-1, *[1] * (g.ndim - 1))
        for kind in ("float32", "bfloat16", "int8"):
            forward, backward = (1000 * statistics.median(times[f"{kind} {way}"][1:]) for way in ("forward", "backward"))
            errors = []
            for each in (g, uneven):
                exact = gradients("float64", geometry, each, x, w)
                errors.append(error(gradients(kind, geometry, each, x, w), exact))
            line = f"  {kind:9} forward {forward:6.2f} ms, backward {backward:6.2f} ms"
            print(f"{line}, error of the gradients {errors[0]:.0e}, of uneven ones {errors[1]:.0e}")


if __name__ == "__main__":
    main()
