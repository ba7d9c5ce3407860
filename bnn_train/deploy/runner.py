"""An exported network at work: images in, classes out, by numpy and what else is installed; neither torch nor Hydra is loaded."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bnn_train import startup
from bnn_train.deploy import file
from bnn_train.deploy.packed import Packed
from bnn_train.deploy.plan import Plan, plan
from bnn_train.errors import ConfigError
from bnn_train.kernels.products import is_llvm_due

_CACHE = 2**21  # bytes: so many images at a time that their largest layer stays in a processor's cache
_WORTH_A_THREAD = 200_000  # nanoseconds that a thread's part must take, or handing it over (0.1 ms) takes longer than it saves


class Network:
    """A network from a file. Images are uint8 (N, C, H, W), as `image_shape` says; (N, H, W) where there is one channel; or one
    image without N. With layout="nhwc" channels come last. The same scores come of every engine and number of threads."""

    def __init__(self, packed: Packed, threads: int | None = None, engine: str | None = None) -> None:
        """threads: at most so many, by default one for each processor that the process may use. engine: llvm, numkong or numpy for
        the packed products; by default what is fastest of those installed."""
        if threads is not None and not (type(threads) is int and threads > 0):
            raise ConfigError("threads", threads, "must be a whole number above 0")
        self.packed = packed
        self._engine = engine
        self.threads = threads or startup.processors()
        self._engine = engine
        self._plan: Plan = plan(packed, engine)
        self._pool: tuple[int, ThreadPoolExecutor] | None = None  # with the process that has its threads

    def __repr__(self) -> str:
        shape, names = "x".join(map(str, self.image_shape)), ", ".join(self.classes[:4])
        return f"<Network for {shape} images, {len(self.classes)} classes: {names}{', ...' * (len(self.classes) > 4)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self.packed, self.threads, self._engine)  # steps and threads are made again

    @property
    def about(self) -> Mapping[str, Any]:
        """What the file says of the network: run, epoch, figures, data, versions."""
        return self.packed.about

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.packed.image_shape

    @property
    def classes(self) -> list[str]:
        """The classes' names, in the order of the scores."""
        return list(self.about["classes"])

    def logits(self, images: np.ndarray, layout: str = "nchw") -> np.ndarray:
        """Class scores, float32 (N, classes). Raises ConfigError for images of another shape, type or range."""
        batch = checked(images, self.image_shape, layout)
        size, threads = self._parts(len(batch))
        if size >= len(batch):
            return self._plan.run(batch)
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        if threads == 1:
            return np.concatenate([self._plan.run(part) for part in parts])
        if self._pool is None or self._pool[0] != os.getpid():  # a forked process has the pool without its threads
            self._pool = os.getpid(), ThreadPoolExecutor(self.threads)
        return np.concatenate(list(self._pool[1].map(self._plan.run, parts)))

    def _parts(self, images: int) -> tuple[int, int]:
        """How many images at a time, by how many threads."""
        known, by_kernels = self._plan, is_llvm_due(self._engine)
        size = max(1, _CACHE // (known.bytes_by_kernels if by_kernels else known.bytes_per_image))
        nanoseconds = images * known.nanoseconds * (1 if by_kernels else 5)
        threads = max(1, min(self.threads, images, nanoseconds // _WORTH_A_THREAD))
        return min(size, -(-images // threads)), threads

    def probabilities(self, images: np.ndarray, layout: str = "nchw") -> np.ndarray:
        """The softmax of the class scores, float32 (N, classes). images, layout: as the class has them."""
        return softmax(self.logits(images, layout))

    def predict(self, images: np.ndarray, layout: str = "nchw") -> np.ndarray:
        """The class of the highest score, of equals the first: int64 (N,). images, layout: as the class has them."""
        return self.logits(images, layout).argmax(axis=1)

    def describe(self) -> str:
        """The network as a table: for each layer bits, bytes in the file, operations."""
        from bnn_train.deploy.describe import table

        return table(self.packed)


def checked(images: np.ndarray, image_shape: tuple[int, int, int], layout: str = "nchw") -> np.ndarray:
    """uint8 (N, C, H, W), contiguous. Raises ConfigError for images of another shape, type or range."""
    if layout not in ("nchw", "nhwc"):
        raise ConfigError("layout", layout, "must be nchw or nhwc")
    channels, height, width = image_shape
    one = (channels, height, width) if layout == "nchw" else (height, width, channels)
    try:
        array = np.asarray(images)
    except ValueError:  # rows of several lengths
        array = np.empty(0)
    gray = f" or (N, {height}, {width})" if channels == 1 else ""
    wanted = f"must be uint8 of shape (N, {', '.join(map(str, one))}){gray}"
    shapes = {one, (height, width)} if channels == 1 else {one}
    if array.shape not in shapes and array.shape[1:] not in shapes:
        other = (height, width, channels) if layout == "nchw" else (channels, height, width)
        hint = f'; for channels {"last" if layout == "nchw" else "first"} give layout="{"nhwc" if layout == "nchw" else "nchw"}"'
        remedy = f"{wanted}, or one such image{hint if array.shape[-3:] == other else ''}"
        raise ConfigError("images", f"shape {array.shape}", remedy)
    if array.dtype != np.uint8:  # whole numbers are taken where they are pixels
        if array.dtype.kind != "i":
            remedy = f"{wanted}, pixels from 0 to 255 as they are in a file; they are normalised here"
            raise ConfigError("images", f"type {array.dtype}", remedy)
        if array.size and not (array.min() >= 0 and array.max() <= 255):
            raise ConfigError("images", f"from {array.min()} to {array.max()}", "must be pixels from 0 to 255")
        array = array.astype(np.uint8)
    batch = array.reshape(-1, *one)
    return np.ascontiguousarray(batch if layout == "nchw" else batch.transpose(0, 3, 1, 2))


def load(path: str | Path, threads: int | None = None, engine: str | None = None) -> Network:
    """The network of an exported file. Raises ConfigError where there is none in it, or not the one that was written.

    threads, engine: as Network has them; no score depends on them.
    """
    return Network(file.read(Path(path).expanduser()), threads, engine)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Of float32 (N, classes), in float64, as float32."""
    wide = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf).astype(np.float64))
    result: np.ndarray = (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
