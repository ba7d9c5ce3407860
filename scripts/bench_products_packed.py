"""How fast a packed product of 2048 x 2048 signs is here: each engine, torch's float32, and bnn-lab where it is installed.

    python scripts/bench_products_packed.py [--peer-python PATH] [--batches 1 16 256] [--bytes]

Milliseconds: medians of rounds in which everybody takes a turn on the same data; the sums are compared first. Ours split the rows
over a pool of threads, torch and bnn-lab use their own. --bytes: a first layer of 784 pixels instead (no peer).
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import usage
from numpy.typing import NDArray

from bnn_train.kernels.products import BinaryProduct, ByteProduct, installed

OUTPUTS, INPUTS, PIXELS = 2048, 2048, 784
ROUNDS, SECONDS = 15, 0.02
PAUSE = 0.05  # before each turn: threads of OpenMP and OpenBLAS spin for a while after a product, and hold a core of the next
THREADS = os.cpu_count() or 1
# What the peer runs: reads a batch size a line, answers with the milliseconds of a call, or once with its sums.
PEER = """
import json, sys, time
import numpy as np
from bnn.kernels import packed
data = np.load(sys.argv[1])
w = packed.pack_bits_u64(data["w"] == 0)
for line in sys.stdin:
    job = json.loads(line)
    x = packed.pack_bits_u64(data["x"][: job["batch"]] == 0)
    n = data["w"].shape[1]
    packed.set_num_threads(job["threads"])
    call = lambda: packed.binary_gemm_native_prepacked(x, w, n)
    if "save" in job:
        np.save(job["save"], call())
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < job["seconds"]:
        call()
        calls += 1
    print(json.dumps((time.perf_counter() - start) / calls * 1000), flush=True)
"""


def timed(call: Callable[[], object]) -> float:
    """Milliseconds a call, of as many as fit into SECONDS."""
    time.sleep(PAUSE)
    call()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls * 1000


def pooled(pool: ThreadPoolExecutor, call: Callable[[NDArray[Any]], object], x: NDArray[Any]) -> Callable[[], object]:
    """The rows split over the threads of the pool; a call with few rows stays in this thread."""
    if len(x) < 32 * THREADS:  # handing work to a thread takes 0.03 ms
        return lambda: call(x)
    parts = np.array_split(x, THREADS)
    return lambda: list(pool.map(call, parts))


class Peer:
    def __init__(self, python: str, folder: Path, x: NDArray[np.uint8], w: NDArray[np.uint8]) -> None:
        np.savez(folder / "data.npz", x=x, w=w)
        environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
        command = [python, "-c", PEER, str(folder / "data.npz")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def __call__(self, **job: Any) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job | {"seconds": SECONDS}) + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline()))


def torch_product(x: NDArray[np.uint8], w: NDArray[np.uint8]) -> Callable[[], object] | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    signs = [torch.from_numpy(2 * bits.astype(np.float32) - 1) for bits in (x, w)]

    @torch.inference_mode()
    def product() -> object:
        return torch.nn.functional.linear(*signs)

    return product


def rows_of_table(
    batch: int, x: NDArray[np.uint8], w: NDArray[np.uint8], pool: ThreadPoolExecutor, as_bytes: bool
) -> dict[str, Callable[[], object]]:
    limits = np.zeros(OUTPUTS, np.int32) + (0 if as_bytes else INPUTS // 2)
    calls: dict[str, Callable[[], object]] = {}
    for engine in installed():
        product: Any
        if as_bytes:
            product, rows = ByteProduct(2 * w[:, :PIXELS].astype(np.int8) - 1, engine=engine), x[:batch, :PIXELS] * np.uint8(255)
            sums = product.sums
        else:
            product, rows = BinaryProduct(np.packbits(w, axis=1), engine=engine), np.packbits(x[:batch], axis=1)
            sums = product.hamming
        calls[f"{engine}, threads: 1"] = lambda sums=sums, rows=rows: sums(rows)  # type: ignore[misc]
        calls[f"{engine}, threads: {THREADS}"] = pooled(pool, sums, rows)
        calls[f"{engine}, compared, threads: 1"] = lambda product=product, rows=rows: product.compare(rows, limits)  # type: ignore[misc]
    width = PIXELS if as_bytes else INPUTS
    of_torch = torch_product(x[:batch, :width], w[:, :width])
    if of_torch:
        calls[f"torch float32, threads: {THREADS}"] = of_torch
    return calls


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--peer-python", help="a Python in which bnn-lab is installed")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--bytes", action="store_true", help="784 pixels to 2048 outputs")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 2, (rows, INPUTS), np.uint8) for rows in (max(asked.batches), OUTPUTS))
    table: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(THREADS) as pool:
        peer = Peer(asked.peer_python, Path(folder), x, w) if asked.peer_python and not asked.bytes else None
        for batch in asked.batches:
            calls = rows_of_table(batch, x, w, pool, asked.bytes)
            if peer:
                peer(batch=batch, threads=1, save=f"{folder}/sums.npy")
                ours = INPUTS - 2 * BinaryProduct(np.packbits(w, axis=1)).hamming(np.packbits(x[:batch], axis=1))
                assert np.array_equal(np.load(f"{folder}/sums.npy"), ours), "the peer's sums differ"
            found: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                for name, call in calls.items():
                    found.setdefault(name, []).append(timed(call))
                if peer:
                    for threads in (1, THREADS):
                        time.sleep(PAUSE)
                        found.setdefault(f"bnn-lab, threads: {threads}", []).append(peer(batch=batch, threads=threads))
            for name, values in found.items():
                table.setdefault(name, {})[batch] = statistics.median(values)
        if peer:
            peer.process.stdin.close()  # type: ignore[union-attr]
            peer.process.wait()
    print(f"| {PIXELS if asked.bytes else INPUTS} x {OUTPUTS} | " + " | ".join(f"batch {batch}" for batch in asked.batches) + " |")
    print("|---|" + "---|" * len(asked.batches))
    for name, times in table.items():
        print(f"| {name} | " + " | ".join(f"{times[batch]:.4f}" for batch in asked.batches) + " |")


if __name__ == "__main__":
    main()
