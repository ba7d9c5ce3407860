"""A file of decoded images, its format and how one image gets into it. Runs in worker processes, so it imports no torch.

A line of 64 bytes with the format, a checksum and the length of the tail; the images' bytes, one image after the other; the tail: a
line of JSON with the shape and the notes, and a mark of each image. The first line's checksum is the tail's, and a mark holds that
of its image: so a file can be trusted without being read, and each image is held against its mark whenever it is.
"""

import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from bnn_train.data import depth
from bnn_train.data.decode import Unreadable, decode

FORMAT = 3  # raise it when what is cached changes
HEAD = 64  # bytes of the first line
DIGEST = 16  # the first bytes of a SHA-256, in a mark
MARK = DIGEST + 4  # bytes: the digest, which tells images apart, and a CRC-32, which takes half as long to check


class Contents(NamedTuple):
    """What a file says of its images."""

    shape: tuple[int, int, int, int]  # (N, C, H, W)
    notes: list[str]  # on how they were made, for the user
    marks: np.ndarray  # uint8 (N, MARK)


class Put(NamedTuple):
    """An image that was decoded: its shape (C, H, W), its mark if it was written, and why it could not be."""

    shape: tuple[int, ...]
    mark: bytes = b""
    failed: str = ""


def mark(pixels: Any) -> bytes:
    """Of an image's bytes, in any contiguous buffer."""
    return hashlib.sha256(pixels).digest()[:DIGEST] + checksum(pixels)


def checksum(pixels: Any) -> bytes:
    return zlib.crc32(pixels).to_bytes(4, "little")


def tail(shape: tuple[int, ...], notes: list[str], marks: bytes) -> bytes:
    return json.dumps({"shape": list(shape), "notes": notes}).encode() + b"\n" + marks


def first_line(end: bytes) -> bytes:
    """The beginning of the file that has this tail."""
    return f"bnn_train images {FORMAT} {zlib.crc32(end):08x} {len(end):012x}".encode().ljust(HEAD - 1) + b"\n"


def contents(stream: BinaryIO, size: int) -> Contents:
    """What an open file of so many bytes says of itself. ValueError, KeyError or TypeError: it is none, or is damaged."""
    first = stream.read(HEAD)
    if len(first) != HEAD or not first.startswith(b"bnn_train images "):
        raise ValueError
    length = int(first.split()[4], 16)
    if length > size - HEAD:
        raise ValueError
    stream.seek(size - length)
    end = stream.read(length)
    if first != first_line(end):
        raise ValueError
    line, _, marks = end.partition(b"\n")
    found = json.loads(line)
    count, channels, height, width = found["shape"]
    shape = (count, channels, height, width)
    if size - HEAD - length != math.prod(shape) or len(marks) != count * MARK:
        raise ValueError
    return Contents(shape, found["notes"], np.frombuffer(marks, np.uint8).reshape(count, MARK))


def put(
    numbered: tuple[int, Path],
    into: str,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None = None,
    grayscale: bool = False,
    scales: depth.Scales | None = None,
    fit: str = "crop",
) -> Put | depth.Deep | Unreadable:
    """Decodes an image and writes it to its place in the file `into`, where it has that shape (C, H, W)."""
    number, path = numbered
    pixels = decode(path, size, grayscale, scales, fit)
    if not isinstance(pixels, np.ndarray):
        return pixels
    if pixels.shape != shape:
        return Put(pixels.shape)
    try:
        with open(into, "r+b", buffering=0) as file:
            file.seek(HEAD + number * pixels.nbytes)
            if file.write(pixels.data) != pixels.nbytes:
                return Put(shape, failed="no space left on device")
    except OSError as error:  # not raised: what processes raise means that there can be none
        return Put(shape, failed=(error.strerror or str(error)).lower())
    return Put(shape, mark(pixels.data))
