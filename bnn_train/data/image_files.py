"""Which files of a class folder are images, and why the others are not.

Sub-folders and links are followed. Hidden is what begins with a dot, as the copies of notebooks and of macOS do. What PIL can open
is known by its suffix; a file with another suffix, or none, is looked into. `root` is data.root as it was typed, for messages.
"""

import functools
import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from bnn_train.data.words import counted, listed, readable
from bnn_train.errors import ConfigError

_NO_DECODER = {"BUFR", "GRIB", "HDF5", "MPEG"}  # PIL knows these formats and has no decoder for them
_LOOKED_FOR = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF")  # by content: their first bytes are unmistakable
_OF_THE_SYSTEM = {".ds_store", "thumbs.db", "desktop.ini"}  # in any folder that was looked at: not worth a word
HIDDEN, NO_IMAGE, NOWHERE = "entry that is hidden", "file that Pillow reads no image from", "link to nowhere"
ABOVE, TWICE = "link to a folder above", "link to a folder that is read already"
SPECIAL, LOOSE = "entry that is no file", "image outside the class folders"


class Found(NamedTuple):
    """The images of a class, sorted by their paths, and what else its folder holds, by reason."""

    files: list[Path]
    left_out: Mapping[str, list[Path]]


def images_in(folder: Path, root: str) -> Found:
    """The image files of the folder and its sub-folders. Raises ConfigError that names a folder which cannot be read."""
    found = Found([], defaultdict(list))
    _walk(folder, root, found, {os.path.realpath(folder)})
    return found


def _walk(folder: Path, root: str, found: Found, seen: set[str]) -> None:
    """seen: the real paths of the folders read so far, so that links in a circle come to an end."""
    here = os.path.join(os.path.realpath(folder), "")
    for path in listing(folder, root):
        name = path.name.lower()
        if is_hidden(path):
            if name not in _OF_THE_SYSTEM:
                found.left_out[HIDDEN].append(path)
            continue
        mode = _mode(path, root)
        if mode is None:
            found.left_out[NOWHERE].append(path)
        elif stat.S_ISDIR(mode):
            real = os.path.realpath(path)
            if here.startswith(os.path.join(real, "")):
                found.left_out[ABOVE].append(path)
            elif real in seen:
                found.left_out[TWICE].append(path)
            else:
                seen.add(real)
                _walk(path, root, found, seen)
        elif not stat.S_ISREG(mode):
            found.left_out[SPECIAL].append(path)
        elif is_image(path):
            found.files.append(path)
        elif name not in _OF_THE_SYSTEM:
            found.left_out[NO_IMAGE].append(path)


def _mode(path: Path, root: str) -> int | None:
    """What kind of file it is, links followed; None for a link to nowhere or to itself."""
    try:
        return path.stat().st_mode
    except PermissionError:
        raise _forbidden(path, root, "permission denied") from None
    except OSError:
        return None


def listing(folder: Path, root: str) -> list[Path]:
    """What a folder holds, sorted. Raises ConfigError where it cannot be read."""
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise _forbidden(folder, root, (error.strerror or str(error)).lower()) from None


def _forbidden(path: Path, root: str, reason: str) -> ConfigError:
    remedy = f"{readable(path.absolute())} cannot be read ({reason}); make it readable, or move it away"
    return ConfigError("data.root", root, remedy)


def folders_in(folder: Path, root: str) -> list[Path]:
    """The folders that are not hidden, sorted. Raises ConfigError as `listing` does."""
    visible = [path for path in listing(folder, root) if not is_hidden(path)]
    return [path for path in visible if stat.S_ISDIR(_mode(path, root) or 0)]


def loose_in(folder: Path, root: str) -> Mapping[str, list[Path]]:
    """What lies beside the class folders and looks as if it were meant to be read, by reason."""
    left_out: dict[str, list[Path]] = {LOOSE: [], NOWHERE: []}
    for path in listing(folder, root):
        mode = _mode(path, root)
        if mode is None:
            left_out[NOWHERE].append(path)
        elif stat.S_ISREG(mode) and path.suffix.lower() in suffixes() and not is_hidden(path):
            left_out[LOOSE].append(path)
    return left_out


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def is_image(path: Path) -> bool:
    """Whether a file is to be decoded: by its suffix, else by what is in it."""
    return path.suffix.lower() in suffixes() or _looks_like_an_image(path)


@functools.cache
def suffixes() -> frozenset[str]:
    """Of the formats that PIL can decode, in lower case."""
    formats = Image.registered_extensions()
    return frozenset(suffix for suffix, name in formats.items() if name in Image.OPEN and name not in _NO_DECODER)


def _looks_like_an_image(path: Path) -> bool:
    suffixes()  # loads all of PIL's formats
    try:
        with Image.open(path, formats=[name for name in _LOOKED_FOR if name in Image.OPEN]):
            return True
    except PermissionError:
        return path.suffix == ""  # not to be told: decoding will name it
    except Exception:  # PIL raises whatever comes its way
        return False


def left_out_line(left_out: Mapping[str, Sequence[Path]], root: Path) -> str:
    """left out: 8 links to nowhere (dark/x1.png, ...), 2 files that Pillow reads no image from (dark/notes.txt, ...)."""
    parts = (
        f"{counted(len(paths), reason)} ({listed([os.path.relpath(path, root) for path in paths])})"
        for reason, paths in left_out.items()
        if paths
    )
    return "left out: " + ", ".join(parts)
