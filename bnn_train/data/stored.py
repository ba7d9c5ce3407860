"""Images that stay on the disk: those of a batch are read when it is due, a few batches ahead.

Read into tensors of one's own, not mapped: what is mapped counts as the process's memory for as long as the system likes.
"""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from bnn_train.data import image_file
from bnn_train.data.words import readable
from bnn_train.device import CPU
from bnn_train.errors import ConfigError

AHEAD = 2  # batches read before they are asked for: one while the network is at the one before, one in case the disk is late


class Stored:
    """Some images of a file, uint8 (N, C, H, W), in any order: none is in memory until it is asked for.

    Where images are asked for their shape, device or some of them, these and a tensor of all images do the same.
    """

    def __init__(self, file: "ImageFile", rows: Tensor | None = None, device: torch.device = CPU) -> None:
        """rows: the numbers of the images in the file, int64 (N,), on the CPU; None: all of them."""
        self.file, self.device = file, device
        self.rows = torch.arange(file.contents.shape[0]) if rows is None else rows
        self.shape = torch.Size((len(self.rows), *file.contents.shape[1:]))
        self.waited = 0.0  # seconds that `ahead` has had to wait

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, numbers: Tensor | slice) -> Tensor:
        """Those images, on the device."""
        return self._read(self.rows[numbers if isinstance(numbers, slice) else numbers.cpu()]).to(self.device)

    def at(self, numbers: Tensor) -> "Stored":
        """Those images, on the disk."""
        return Stored(self.file, self.rows[numbers.cpu()], self.device)

    def to(self, device: torch.device) -> "Stored":
        """The same images, to be given on another device."""
        return Stored(self.file, self.rows, device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All images in order, so many at a time."""
        return self.ahead(torch.arange(len(self)).split(size))

    def digests(self) -> np.ndarray:
        """uint8 (N, DIGEST), as a SHA-256 of each image begins."""
        return self.file.contents.marks[self.rows.numpy(), : image_file.DIGEST]

    def ahead(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images of each batch, numbers on the CPU, on the device. A thread reads AHEAD batches before they are asked for."""
        coming = iter(batches)
        with ThreadPoolExecutor(1, "images") as pool:
            reads: deque[Future[Tensor]] = deque()
            try:
                reads.extend(pool.submit(self._read, self.rows[each]) for each in islice(coming, 1 + AHEAD))
                while reads:
                    start = time.perf_counter()
                    images = reads.popleft().result()
                    self.waited += time.perf_counter() - start
                    reads.extend(pool.submit(self._read, self.rows[each]) for each in islice(coming, 1))
                    yield images.to(self.device, non_blocking=True)
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, rows: Tensor) -> Tensor:
        return self.file.read(rows.tolist(), pinned=self.device.type == "cuda")


class ImageFile:
    """An open file of decoded images. It may be deleted by others meanwhile."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        """stream: of the file, which it need not be for longer. Raises as `opened`."""
        self.path, self._lock, self._buffers = path, threading.Lock(), _Buffers()
        self.contents = image_file.contents(stream, os.fstat(stream.fileno()).st_size)
        self._file = os.dup(stream.fileno())
        weakref.finalize(self, os.close, self._file)

    def read(self, rows: list[int], pinned: bool = False) -> Tensor:
        """The images of those numbers, uint8 (n, C, H, W). Raises ConfigError for a disk that fails and for a damaged image."""
        shape = self.contents.shape[1:]
        if pinned:
            images = torch.empty((len(rows), *shape), dtype=torch.uint8, pin_memory=True)
        else:
            images = torch.from_numpy(self._buffers.take(len(rows) * math.prod(shape))).view(len(rows), *shape)
        pixels = images.numpy().reshape(len(rows), -1) if rows else np.empty((0, 0), np.uint8)
        forwards = sorted(range(len(rows)), key=rows.__getitem__)  # as disks like it
        if hasattr(os, "posix_fadvise"):  # the disk reads several at once: by 1.1 to 2 times as fast, measured on an SSD
            for place in forwards:
                start = image_file.HEAD + rows[place] * pixels.shape[1]
                os.posix_fadvise(self._file, start, pixels.shape[1], os.POSIX_FADV_WILLNEED)
        for place in forwards:
            row = rows[place]
            try:
                whole = self._read_into(pixels[place], image_file.HEAD + row * pixels.shape[1])
            except OSError as error:
                raise self._fault(f"cannot be read ({(error.strerror or str(error)).lower()})", "mend the disk") from error
            if not whole or image_file.checksum(pixels[place]) != self.contents.marks[row, image_file.DIGEST :].tobytes():
                with suppress(OSError):
                    self.path.unlink(missing_ok=True)
                raise self._fault(f"were damaged (image {row}) and have been removed", "they are decoded again")
        return images

    def _read_into(self, buffer: np.ndarray, place: int) -> bool:
        """Fills the buffer from a place in the file; whether there was enough."""
        rest = memoryview(buffer)  # type: ignore[arg-type]
        while rest:
            if hasattr(os, "preadv"):
                count = os.preadv(self._file, [rest], place)
            else:  # Windows
                with self._lock:
                    os.lseek(self._file, place, os.SEEK_SET)
                    some = os.read(self._file, len(rest))
                count = len(some)
                rest[:count] = some
            if not count:
                return False
            rest, place = rest[count:], place + count
        return True

    def _fault(self, what: str, then: str) -> ConfigError:
        remedy = f"the decoded images in {readable(self.path)} {what}; {then}, and continue the run"
        return ConfigError("data.memory", "disk", remedy)


class _Buffers:
    """Memory for batches, which is used again when no tensor is left of the batch that was in it.

    Asked for anew for each batch it would lie between what the loop asks for, so that little of it is given back: to read batches
    of 128 images of 224x224 took 0.3 GB instead of 0.1.
    """

    def __init__(self) -> None:
        self._held: list[tuple[np.ndarray, weakref.ref[np.ndarray]]] = []  # buffers, and what was given of them last
        self._lock = threading.Lock()

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,)."""
        with self._lock:
            fitting = [buffer for buffer, given in self._held if given() is None and size <= len(buffer) <= 2 * size]
            buffer = fitting[0] if fitting else np.empty(size, np.uint8)
            given = buffer[:size]
            kept = [(each, of) for each, of in self._held if of() is not None or any(each is other for other in fitting[1:])]
            self._held = [*kept, (buffer, weakref.ref(given))]
            return given


def opened(path: Path) -> Stored:
    """All images of a file. Raises OSError, ValueError, KeyError or TypeError where there is none, or it is damaged."""
    with open(path, "rb") as stream:
        return Stored(ImageFile(path, stream))
