"""The MLP of bench_train.py in larq (TensorFlow) or bitorch, whichever the interpreter that runs this has.

Run by `bench_train.py mnist_mlp --peer-python`, with one JSON argument; prints one JSON line. Imports nothing of bnn_train. The
images are in memory, normalised, before the clock starts: the peer has no transforms to pay for.
"""

import gzip
import importlib.util
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def images(root: str, part: str, mean: float, std: float) -> tuple[Any, Any]:
    """MNIST's own files, as torchvision keeps them: float32 (N, 784) and int64 (N,)."""

    def read(name: str) -> bytes:
        folder = Path(root) / "MNIST" / "raw"
        plain = folder / name
        return plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())

    pixels = np.frombuffer(read(f"{part}-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 784)
    labels = np.frombuffer(read(f"{part}-labels-idx1-ubyte"), np.uint8, offset=8).astype(np.int64)
    return ((pixels / 255 - mean) / std).astype(np.float32), labels


def larq(job: dict[str, Any], train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, Any]:
    import larq as lq
    import tensorflow as tf

    tf.random.set_seed(job["seed"])
    layers = []
    for i, width in enumerate(job["hidden"]):
        signs = {"input_quantizer": "ste_sign"} if i else {}
        layers.append(lq.layers.QuantDense(width, kernel_quantizer="ste_sign", use_bias=False, **signs))
        if i == len(job["hidden"]) - 1 and job["dropout"]:
            layers.append(tf.keras.layers.Dropout(job["dropout"]))
        layers.append(tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
    model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(job["classes"])])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(job["lr"]), loss, metrics=["accuracy"])
    size, steps = job["batch_size"], job["steps"] or len(train[0]) // job["batch_size"]
    model.fit(train[0][: 3 * size], train[1][: 3 * size], batch_size=size, verbose=0)  # builds the graph
    start = time.perf_counter()
    model.fit(train[0][: steps * size], train[1][: steps * size], batch_size=size, epochs=job["epochs"], verbose=0)
    seconds = (time.perf_counter() - start) / (steps * job["epochs"])
    start = time.perf_counter()
    _, accuracy = model.evaluate(*test, batch_size=1000, verbose=0)
    return {"name": f"larq {lq.__version__}", "seconds_per_step": seconds, "accuracy": accuracy, "start": start}


def bitorch(job: dict[str, Any], train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, Any]:
    import torch
    from bitorch.layers import QLinear
    from torch import nn

    torch.manual_seed(job["seed"])
    layers: list[nn.Module] = []
    size = 784
    for i, width in enumerate(job["hidden"]):
        layers.append(QLinear(size, width, bias=False, input_quantization="sign" if i else "identity", weight_quantization="sign"))
        if i == len(job["hidden"]) - 1 and job["dropout"]:
            layers.append(nn.Dropout(job["dropout"]))
        layers.append(nn.BatchNorm1d(width))
        size = width
    model = nn.Sequential(*layers, nn.Linear(size, job["classes"]))
    optimizer = torch.optim.Adam(model.parameters(), lr=job["lr"])
    x, y, x_test, y_test = (torch.from_numpy(array) for array in (*train, *test))
    seconds, steps, begin = 0.0, 0, 0.0
    for _ in range(job["epochs"]):
        model.train()
        for step, batch in enumerate(torch.randperm(len(y)).split(job["batch_size"]), start=1):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            if step == 3:
                begin = time.perf_counter()
            if step == job["steps"]:
                break
        seconds, steps = seconds + time.perf_counter() - begin, steps + step - 3
    model.eval()
    start = time.perf_counter()
    with torch.no_grad():
        pairs = zip(x_test.split(1000), y_test.split(1000), strict=True)
        correct = sum((model(inputs).argmax(1) == labels).sum().item() for inputs, labels in pairs)
    return {"name": "bitorch", "seconds_per_step": seconds / steps, "accuracy": correct / len(y_test), "start": start}


def main(job: dict[str, Any]) -> dict[str, Any]:
    if job["data"] != "mnist":
        raise SystemExit("peers are compared on mnist_mlp alone")
    train, test = (images(job["root"], part, job["mean"][0], job["std"][0]) for part in ("train", "t10k"))
    peer = next((f for f in (larq, bitorch) if importlib.util.find_spec(f.__name__)), None)
    if peer is None:
        raise SystemExit(f"{sys.executable} has neither larq nor bitorch")
    result = peer(job, train, test)
    result["evaluation_seconds"] = time.perf_counter() - result.pop("start")
    return {**result, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
