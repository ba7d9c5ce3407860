"""Damaged and hostile exported networks: each must be refused in one way, or be a network that can be run.

    python scripts/fuzz_format.py                     # 20,000 files
    python scripts/fuzz_format.py --files 200000 --seed 7

Five of six are sealed with a checksum of their own, as whoever means harm would. The files are made of three small networks that
have every operation. Prints what became of them, the slowest one and the most memory that one took, and ends with 1 where a file
led to another exception, to a value that is not what was announced, to other scores of the runner than of the reference, or was
too slow or too large.
"""

import sys
import time
import tracemalloc
from collections import Counter
from random import Random

import numpy as np
import usage
from fuzz_changes import damaged, enormous
from fuzz_networks import small_networks

from bnn_train.deploy import reference
from bnn_train.deploy.file import decode
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Packed, Unfit
from bnn_train.deploy.runner import Network

SECONDS, BYTES = 1.0, 200 * 2**20  # that one file may take
_TRIED = 2**19  # numbers and weights of a network up to which it is run
_DTYPES = {"bytes": np.uint8, "bits": np.int8, "whole": np.int32, "real": np.float32}


def judge(content: bytes) -> str:
    """What becomes of a file: "refused", "run", or "too large to try"."""
    try:
        packed = decode(content)
    except Unfit as error:
        line = str(error)
        assert line.isprintable(), "a message that is not one line"
        assert len(line) < 1000, "an endless message"
        return "refused"
    known = infer(packed)
    weights = sum(array.size for op in packed.ops for array in op.tensors.values())
    if sum(value.size for value in known) > _TRIED or _most_under_kernels(packed) > _TRIED or weights > _TRIED:
        return "too large to try"
    image = np.random.default_rng(0).integers(0, 256, (1, *packed.image_shape), np.uint8)
    with np.errstate(all="ignore"):  # numbers beyond float32 are the network's own affair
        values = reference.run(packed, image)
    for value, announced in zip(values, known, strict=True):
        assert value.shape == (1, *announced.shape), f"shape {value.shape}, announced {announced}"
        assert value.dtype == _DTYPES[announced.kind], f"{value.dtype}, announced {announced}"
        assert announced.kind != "whole" or np.abs(value.astype(np.int64)).max() <= announced.largest, "larger than announced"
    if all(np.isfinite(value).all() for value in values):
        scores = Network(packed, threads=1, engine="numpy").logits(image)
        assert np.array_equal(scores, values[-1].astype(np.float32)), "the runner has other scores than the reference"
    return "run"


def _most_under_kernels(packed: Packed) -> int:
    known = infer(packed)
    most = 0
    for op, result in zip(packed.ops, known[1:], strict=True):
        if "kernel" in op.settings:
            x, (high, wide), pad = known[op.inputs[0]], op.settings["kernel"], op.settings["padding"]
            padded = x.shape[0] * (x.shape[1] + 2 * pad[0] + high) * (x.shape[2] + 2 * pad[1] + wide)
            most = max(most, x.shape[0] * result.size // result.shape[0] * high * wide, padded)
    return most


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random, networks, found = Random(arguments.seed), small_networks(), Counter[str]()
    slowest, largest = (0.0, "none"), (0, "none")
    named = [*enormous().items(), *((f"file {i}", None) for i in range(arguments.files))]
    for name, given in named:
        content = damaged(random, networks) if given is None else given
        start = time.perf_counter()
        try:
            found[judge(content)] += 1
        except Exception as error:  # whatever it is, it is a defect
            found["FAILED"] += 1
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        slowest = max(slowest, (time.perf_counter() - start, name))
        tracemalloc.start()
        judge(content)
        largest = max(largest, (tracemalloc.get_traced_memory()[1], name))
        tracemalloc.stop()
    print(", ".join(f"{count:,} {what}" for what, count in found.most_common()))
    print(f"slowest: {slowest[1]}, {slowest[0]:.2f} s; most memory: {largest[1]}, {largest[0] / 2**20:.0f} MiB")
    sys.exit(bool(found["FAILED"] or slowest[0] > SECONDS or largest[0] > BYTES))


if __name__ == "__main__":
    main()
