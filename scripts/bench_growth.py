"""How the time of a training step grows with width and batch, and how far it is from what this machine allows.

    python scripts/bench_growth.py                                     # widths 256 to 8192, batches 16 to 1024: some minutes
    python scripts/bench_growth.py --widths 256 512 --batches 16 64    # a minute
    python scripts/bench_growth.py --isa avx2                          # every library kept to AVX2

An MLP 784-W-W-W-10 on random pixels with Adam, medians. Beside each step two times that no way of computing it can be below:

- memory: 32 bytes for each weight, since a latent weight, its gradient and both its moments are float32, each read and written once
  a step; at the rate at which this machine copies an array, where array and copy are as large as all these. Activations are not
  counted.
- products: operations (2 for each weight and image, in each product) over the highest rate of each kind, measured first at 2048 x
  2048, batch 1024: forward products of signs count at that of counting bits, their two gradients at that of tables or of float32,
  the better one; the products of pixels and of the last layer are float32's.

step/limit is the step's time over the larger of the two. Memory and products are taken to go on at once, so 1 is out of reach.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import usage
from benching import PIXELS, in_process, keep_to, machine, random_pixels

from bnn_train import startup

WIDTHS, BATCHES = (256, 512, 1024, 2048, 4096, 8192), (16, 64, 256, 1024)
INPUTS, CLASSES = PIXELS[1] * PIXELS[2], 10
BYTES_A_WEIGHT = 32
STEPS = 4  # of an epoch; the first epoch warms up, and between steps of the others the clock runs
SECONDS, LEAST, MOST = 1.0, 3, 60  # of timed steps: for how long, and how many at least and at most
ROUNDS = 7  # of copies and of single products, of which the fastest counts


def weights(width: int) -> int:
    return INPUTS * width + 2 * width * width + CLASSES * width


def product_seconds(width: int, batch: int, rates: dict[str, float]) -> float:
    """The least time of a step's products. rates: operations a second of "float32", "counted" and "tables"."""
    first, hidden, last = INPUTS * width, 2 * width * width, CLASSES * width
    real = rates["float32"]
    signs = hidden / max(real, rates["counted"]) + 2 * hidden / max(real, rates["tables"])
    return 2 * batch * (signs + (2 * first + 3 * last) / real)  # pixels take no gradient


def fastest(call: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def copy_seconds(width: int) -> float:
    """Of moving BYTES_A_WEIGHT for each weight: of copying half of the memory that weights, gradients and moments take."""
    import torch

    source = torch.ones(2 * weights(width))
    target = torch.empty_like(source)
    moved = 2 * source.nbytes
    return fastest(lambda: target.copy_(source)) * BYTES_A_WEIGHT * weights(width) / moved


def rates() -> dict[str, float]:
    """Operations a second of each kind of product, with all threads."""
    import torch

    from bnn_train.binary import tables
    from bnn_train.binary.packed import PackedWeights
    from bnn_train.binary.products import Linear

    batch, size = 1024, 2048
    x, w = (torch.randint(0, 2, (rows, size)).float() * 2 - 1 for rows in (batch, size))
    x8, w8, packed = x.to(torch.int8), w.to(torch.int8), PackedWeights()
    packed.hold(1)  # weights are packed once
    seconds = {
        "float32": fastest(lambda: x @ w.t()),
        "counted": fastest(lambda: packed.product(Linear(), x8, lambda: w8, w8.shape, pruned=False, is_fixed=True)),
        "tables": fastest(lambda: tables.product(x, w8)),
    }
    return {kind: 2 * batch * size * size / each for kind, each in seconds.items()}


def step_seconds(width: int, batch: int) -> float:
    """The median step of a training."""
    from bnn_train import device
    from bnn_train.cli.compose import typed
    from bnn_train.runs.assemble import assemble
    from bnn_train.training.trainer import Trainer

    config = typed(
        [
            *("experiment=mnist_mlp", "data.crop_padding=0", "model.dropout=0", "scheduler=constant", "trainer.epochs=1000000"),
            *(f"model.hidden={[width] * 3}".replace(" ", ""), f"trainer.batch_size={batch}"),
        ]
    )
    data = random_pixels(STEPS * batch)
    marks: list[float] = []
    trainer = Trainer(config, *assemble(config, data, device.CPU), data, lambda _: marks.append(time.perf_counter()))
    times: list[float] = []
    while len(times) < LEAST or (sum(times) < SECONDS and len(times) < MOST):
        marks.clear()
        trainer.train_epoch()
        if trainer.history:
            times += [after - before for before, after in pairwise(marks)]
        trainer.history.append({})
        trainer.step = 0
    return statistics.median(times)


def worker(job: dict[str, Any]) -> dict[str, Any]:
    startup.prepare()
    keep_to(job["isa"])
    if job["width"] is None:
        return rates()
    steps = [step_seconds(job["width"], batch) for batch in job["batches"]]
    return {"copy": copy_seconds(job["width"]), "steps": steps}


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--isa", choices=["avx2"], help="keep every library to this instruction set")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if min(*options.widths, *options.batches) < 2:
        parser.error("--widths and --batches must be at least 2: BatchNorm takes no single image")

    def measure(width: int | None) -> dict[str, Any]:
        job = {"width": width, "batches": options.batches, "isa": options.isa}
        return in_process(sys.executable, "bench_growth.py", "--worker", json.dumps(job), isa=options.isa)

    print(machine(options.isa))
    peaks = measure(None)
    print(
        "peak rates: " + ", ".join(f"{kind} {rate / 1e9:,.0f}" for kind, rate in peaks.items()) + " billion operations a second\n"
    )
    print(f"{'width':>6} {'batch':>6} {'step ms':>10} {'memory ms':>10} {'products ms':>12} {'step/limit':>11}")
    rows = []
    for width in options.widths:
        found = measure(width)
        for batch, step in zip(options.batches, found["steps"], strict=True):
            product = product_seconds(width, batch, peaks)
            row = {"width": width, "batch": batch, "step": step}
            row |= {"memory": found["copy"], "products": product, "ratio": step / max(found["copy"], product)}
            rows.append(row)
            milliseconds = [1000 * seconds for seconds in (step, found["copy"], product)]
            times = f"{milliseconds[0]:10.2f} {milliseconds[1]:10.2f} {milliseconds[2]:12.2f}"
            print(f"{width:6} {batch:6} {times} {row['ratio']:11.1f}", flush=True)
    if options.json:
        everything = {"machine": machine(options.isa), "rates": peaks, "rows": rows}
        options.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(worker(json.loads(sys.argv[2]))))
    else:
        main()
