"""How fast an exported network is here, beside torch's float32 network that computes the same.

    python scripts/bench_deploy.py [--peer-python PATH] [--engines llvm numkong numpy] [--avx2] [--onnx]

Networks as exported, with untrained weights and BatchNorm statistics of random images: speed does not depend on what was learned.
torch: float32 in inference mode, nn.Linear and nn.Conv2d that hold -1 and +1 as float weights, BatchNorm, sign, channels last; its
input is normalised before the clock starts, ours are the uint8 images. Both with all threads of the machine. Milliseconds, medians
of rounds in which everybody takes a turn; "asked" is the ratio that is to be reached on the processor at hand. Then what a process
of its own takes that loads a network and predicts. The last table is a packed product alone, 2048 x 2048, beside the nearest peer,
bnn-lab, where --peer-python names a Python that has it.

--onnx adds ONNX Runtime on the exported ONNX file (uint8 images too), and the sizes of a network in all formats.

--avx2 keeps both to AVX2, on a processor that has more: a hint at what one with AVX2 alone would give, no measurement of one.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benching
import numpy as np
import usage

from bnn_train import startup

if "--avx2" in sys.argv:
    os.environ.update(benching.variables("avx2"))
startup.prepare()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bnn_train import models  # noqa: E402
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear  # noqa: E402
from bnn_train.binary.ste import Ste  # noqa: E402
from bnn_train.cli.compose import typed  # noqa: E402
from bnn_train.config.root import Config  # noqa: E402
from bnn_train.data.augment import normalise  # noqa: E402
from bnn_train.deploy import file, formats  # noqa: E402
from bnn_train.deploy.packed import Packed  # noqa: E402
from bnn_train.deploy.packing.pack import pack  # noqa: E402
from bnn_train.deploy.runner import Network  # noqa: E402
from bnn_train.kernels import by_numkong, compiler, products  # noqa: E402

ROUNDS, SECONDS, PAUSE = 9, 0.1, 0.05  # rounds; seconds of a turn; before it, so that no thread of the one before still spins
NETWORKS: dict[str, tuple[tuple[int, int, int], tuple[int, ...]]] = {  # images, batches
    "digits_cnn": ((1, 8, 8), (1, 64)),
    "mnist_mlp": ((1, 28, 28), (1, 256)),
    "cifar10_cnn": ((3, 32, 32), (1, 64)),
    "resnet20": ((3, 32, 32), (1, 64)),
}
ASKED = {  # times torch's speed: with AVX-512 VPOPCNTDQ, with AVX2 alone
    ("mnist_mlp", 1): (15, 10),
    ("mnist_mlp", 256): (6, 4),
    ("cifar10_cnn", 1): (4, 3),
    ("cifar10_cnn", 64): (4, 3),
}


class Sign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)


def network(name: str, shape: tuple[int, int, int]) -> tuple[Config, nn.Module]:
    """With running statistics of random images, so that signs are not all the same."""
    asked = {"resnet20": ["model=resnet20", "data=cifar10"], "digits_cnn": ["model=cnn"]}.get(name, [f"experiment={name}"])
    config = typed([*asked, "trainer.precision=float32"])
    torch.manual_seed(0)
    model = models.build(config, shape, 10)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(normalise(torch.randint(0, 256, (64, *shape), dtype=torch.uint8), config.data.mean, config.data.std))
    return config, model.eval()


def float_twin(module: nn.Module) -> nn.Module:
    """The same network with ready weights: nothing is binarized at run time but activations."""
    for name, child in list(module.named_children()):
        if isinstance(child, BinaryLinear | BinaryConv2d):
            real: nn.Module
            if isinstance(child, BinaryConv2d):
                assert child.pad_value == 0
                shape: dict[str, Any] = {name: getattr(child, name) for name in ("kernel_size", "stride", "padding", "dilation")}
                real = nn.Conv2d(child.in_channels, child.out_channels, bias=False, **shape)
            else:
                real = nn.Linear(child.in_features, child.out_features, bias=False)
            real.weight.data = child.binary_weight().clone()
            signs = [Sign()] if isinstance(child.estimator, Ste) else []
            setattr(module, name, nn.Sequential(*signs, real))
        else:
            float_twin(child)
    return module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def turn(call: Callable[[], object]) -> float:
    """Milliseconds of a call, the median of as many as fit into SECONDS."""
    time.sleep(PAUSE)
    call()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(turn(call))
    return {name: statistics.median(times) for name, times in found.items()}


def of_onnx_runtime(packed: Packed) -> Callable[[np.ndarray], np.ndarray]:
    """images -> scores, with all threads."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        formats.write("onnx", packed, path)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["scores"], {"images": images})[0]


def file_sizes(packed: Packed) -> str:
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in ("bnn", "onnx", "c", "html"):
            path = Path(folder, f"m{formats.FORMATS[name].suffixes[0]}")
            formats.write(name, packed, path)
            found[name] = path.stat().st_size
    return ", ".join(f"{name} {size:,}" for name, size in found.items())


def compare(name: str, engines: list[str], column: int | None, with_onnx: bool) -> Packed:
    shape, batches = NETWORKS[name]
    config, model = network(name, shape)
    packed = pack(model, shape, config.data.mean, config.data.std, {"classes": [str(i) for i in range(10)]})
    twin = float_twin(model)
    for batch in batches:
        images = np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype=np.uint8)
        inputs = normalise(torch.from_numpy(images), config.data.mean, config.data.std)
        inputs = inputs.contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def of_torch(inputs: Tensor = inputs) -> Tensor:
            result: Tensor = twin(inputs)
            return result

        calls: dict[str, Callable[[], object]] = {"torch": of_torch}
        for engine in [None, *engines]:
            ours = Network(packed, engine=engine)
            same = (ours.logits(images).argmax(axis=1) == of_torch().numpy().argmax(axis=1)).mean()
            assert same > 0.9, f"{name}: the twin gives other classes ({same:.0%} the same)"
            calls[engine or "ours"] = lambda ours=ours, images=images: ours.logits(images)  # type: ignore[misc]
        if with_onnx:
            run = of_onnx_runtime(packed)
            assert np.array_equal(run(images), ours.logits(images)), f"{name}: ONNX Runtime gives other scores"
            calls["onnx"] = lambda run=run, images=images: run(images)  # type: ignore[misc]
        found = medians(calls)
        goal = ASKED.get((name, batch))
        cells = [f"{found['torch']:.3f}", f"{found['ours']:.3f}", f"{found['torch'] / found['ours']:.1f}"]
        cells.append("-" if goal is None or column is None else str(goal[column]))
        cells += [f"{found[other]:.3f}" for other in (*engines, *(["onnx"] if with_onnx else []))]
        print(f"| {name} | {batch} | " + " | ".join(cells) + " |", flush=True)
    return packed


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--peer-python", metavar="PATH", help="a Python in which bnn-lab is installed")
    parser.add_argument("--engines", nargs="*", default=[], help="also each of these")
    parser.add_argument("--avx2", action="store_true", help="keep both to AVX2")
    parser.add_argument("--onnx", action="store_true", help="also ONNX Runtime, and the sizes of all formats")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    asked = parser.parse_args()
    torch.set_num_threads(startup.processors())
    flags = set(benching.processor().get("flags", "").split())
    if asked.avx2:
        keep_to_avx2()
    is_avx2_alone = "avx2" in flags and "avx512f" not in flags
    column = None if asked.avx2 else 0 if "avx512_vpopcntdq" in flags else 1 if is_avx2_alone else None
    print(f"{benching.machine()}; {startup.processors()} threads; installed: {', '.join(products.installed())}")
    columns = ("with AVX-512 VPOPCNTDQ", "with AVX2 alone")
    print("; ".join(f"{name}: {'this processor' if i == column else 'not run'}" for i, name in enumerate(columns)), end="")
    print("; here kept to AVX2" if asked.avx2 else "")
    others = [*asked.engines, *(["ONNX Runtime"] if asked.onnx else [])]
    print("\n| " + " | ".join(["network", "batch", "torch float32", "exported", "times as fast", "asked", *others]) + " |")
    print("|---" * (6 + len(others)) + "|")
    made = {name: compare(name, asked.engines, column, asked.onnx) for name in asked.networks}
    for name, packed in made.items() if asked.onnx else ():
        print(f"bytes of {name}: {file_sizes(packed)}")
    print(flush=True)
    with tempfile.TemporaryDirectory() as folder:
        start_up(Path(folder, "m.bnn"))
    if asked.avx2:
        return
    alone = [sys.executable, str(Path(__file__).with_name("bench_products_packed.py")), "--batches", "1", "256"]
    subprocess.run(alone + (["--peer-python", asked.peer_python] if asked.peer_python else []), check=True)
    if not asked.peer_python:
        print("the package bnn-lab (pip's, not this one's command): not run, see --peer-python")


def keep_to_avx2() -> None:
    compiler.CPU = "x86-64-v3"
    nk = by_numkong.module()
    if nk is not None:
        for name in [name for name, there in nk.get_capabilities().items() if there and name not in ("serial", "haswell")]:
            nk.disable_capability(name)


START = """
import re, sys, time
start = time.perf_counter()
from bnn_train.deploy import load
network = load(sys.argv[1])
loaded = time.perf_counter() - start
import numpy as np
network.predict(np.zeros((1, *network.image_shape), np.uint8))
first = time.perf_counter() - start
with open("/proc/self/status") as file:  # not getrusage: it knows of the process that started this one, too
    memory = int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1]) / 1000
print(f"mnist_mlp in a process of its own: loaded after {loaded:.2f} s, first image after {first:.2f} s, {memory:.0f} MB at most")
assert "torch" not in sys.modules
"""


def start_up(path: Path) -> None:
    shape, _ = NETWORKS["mnist_mlp"]
    config, model = network("mnist_mlp", shape)
    file.write(pack(model, shape, config.data.mean, config.data.std, {"classes": [str(i) for i in range(10)]}), path)
    if sys.platform == "linux":
        subprocess.run([sys.executable, "-c", START, str(path)], check=True)


if __name__ == "__main__":
    main()
