"""Whether the C header gives the runner's class scores: compiled here, and run on images."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bnn_train.deploy import reference
from bnn_train.deploy.bounds import UNIT, bounds
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import Network
from bnn_train.errors import ConfigError

_PROGRAM = """#include "{header}"
#include <stdio.h>

int main(void)
{{
    static uint8_t pixels[{upper}CHANNELS * {upper}HEIGHT * {upper}WIDTH];
    static float scores[{upper}CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {{
        {lower}scores(pixels, scores);
        fwrite(scores, 1, sizeof scores, stdout);
    }}
    return 0;
}}
"""
_LOOKED_INTO = 20  # images whose bounds are computed


def prefix_of(path: Path) -> str:
    """What the names in the header begin with, that two headers fit into one program: photos.h has photos_predict."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")
    return (name if re.match("[a-z]", name) else f"m_{name}".rstrip("_")) + "_"


def compiler() -> list[str] | None:
    """The command of CC, else of cc, gcc or clang, whichever is here."""
    for command in [shlex.split(os.environ["CC"])] if os.environ.get("CC") else [["cc"], ["gcc"], ["clang"]]:
        if command and shutil.which(command[0]):
            return command
    return None


def compare(path: Path, network: Network, images: np.ndarray) -> str | None:
    """Scores of uint8 images (N, C, H, W) by the header and by the network: what was seen, for people; None where no compiler is
    here, or it makes programs for another machine. Raises ConfigError where the header does not compile, or scores differ."""
    command = compiler()
    if command is None:
        asked = os.environ.get("CC")
        return f"not run here, since CC={asked} is not found" if asked else None
    found = scores(path, network.packed, images, [*command, "-O2"])
    if found is None:
        return None
    expected = network.logits(images)
    same = (found == expected).all(axis=1)
    sigmoids = any(op.kind == "sigmoid" for op in network.packed.ops)
    if not same.all() and not (sigmoids and _explained(network.packed, images[~same], found[~same])):
        at = int(np.nonzero(~same)[0][0])
        remedy = f"compiled by {_called(command)}, its class scores of image {at} differ from the network's; please report this"
        raise ConfigError("format", path, remedy)
    text = f"{_called(command)}: equal class scores on {int(same.sum()):,} of {len(images):,} images"
    if not same.all():
        text += ", in the others the last bits of a sigmoid differ"
    if any(value.kind == "real" for value in infer(network.packed)):
        text += _by_float(path, network.packed, images[:_LOOKED_INTO], command)
    return text


def _by_float(path: Path, packed: Packed, images: np.ndarray, command: Sequence[str]) -> str:
    """The same with M_FLOAT, on some of the images: the end of the phrase. Raises ConfigError beyond what rounding can make."""
    found = scores(path, packed, images, [*command, "-O2", f"-D{prefix_of(path).upper()}FLOAT"])
    if found is None or not len(images):
        return ""
    largest, uncertain = float_bounds(packed, images)
    differ = np.abs(found - reference.run(packed, images)[-1].astype(np.float64))
    inside = (differ <= largest).all(axis=1)
    if not (inside | uncertain).all():
        remedy = (
            f"with M_FLOAT its class scores differ by {differ[~uncertain].max():.1e}, more than rounding can make; please report"
        )
        raise ConfigError("format", path, f"{remedy} this")
    if not inside.any():
        return ""
    return f"; with M_FLOAT they differ by {differ[inside].max():.1e} at most, where rounding can make {largest[inside].max():.1e}"


def scores(path: Path, packed: Packed, images: np.ndarray, command: Sequence[str]) -> np.ndarray | None:
    """float32 (N, classes) by the header, compiled by the command; None where what it makes does not run here."""
    prefix = prefix_of(path)
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "main.c"), Path(folder, "main")
        header = path.absolute().as_posix()
        shutil.copyfile(header, Path(folder, "network.h"))  # a name that needs no quotes
        source.write_text(_PROGRAM.format(header="network.h", lower=prefix, upper=prefix.upper()), encoding="ascii")
        standard = [] if any("++" in Path(word).name for word in command[:1]) else ["-std=c99"]
        done = subprocess.run([*command, *standard, source, "-o", program, "-lm"], capture_output=True, check=False)
        if done.returncode != 0 or done.stderr.strip() or not program.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = next((line for line in said if "error" in line or "warning" in line), said[-1] if said else "no word why")
            remedy = f"does not compile the header ({why}); set CC to a C99 compiler, or unset it"
            raise ConfigError("CC", " ".join(command), remedy)
        try:
            ran = subprocess.run([program], input=np.ascontiguousarray(images).tobytes(), capture_output=True, check=False)
        except OSError:
            return None
        if ran.returncode != 0:
            said = ran.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {ran.returncode}"]
            raise ConfigError("format", path, f"compiled by {' '.join(command)} it fails ({said[0]}); please report this")
    return np.frombuffer(ran.stdout, np.float32).reshape(len(images), -1)


def float_bounds(packed: Packed, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the scores with M_FLOAT can be from the defined ones, float64 (N, classes), while every sign is the same; and of
    which images a sign may differ, bool (N,). The analysis is that of deploy/bounds.py: sums of float32 numbers in any order."""
    ops = tuple(_with_rounding(op) for op in packed.ops)
    found = bounds(replace(packed, ops=ops), reference.run(packed, images))
    return found.scores, found.uncertain


def _with_rounding(op: Op) -> Op:
    """affine: the product of a rounded number and the sum, each one float32 operation: units of scale * x, and of the shift."""
    if op.kind != "affine":
        return replace(op, rounding=None)
    shift = np.abs(op.tensors["shift"].astype(np.float64))
    return replace(op, rounding=np.stack([np.full(len(shift), 4.0), 2 * shift + UNIT]))


def _explained(packed: Packed, images: np.ndarray, found: np.ndarray) -> bool:
    """Whether rounding can make the differences; the first images stand for all."""
    images, found = images[:_LOOKED_INTO], found[:_LOOKED_INTO]
    largest, uncertain = float_bounds(packed, images)
    expected = reference.run(packed, images)[-1].astype(np.float64)
    return bool(((np.abs(found - expected) <= largest).all(axis=1) | uncertain).all())


def _called(command: Sequence[str]) -> str:
    """The compiler and its version, as gcc 12.2.0."""
    name = Path(command[0]).name
    for flag in ("-dumpfullversion", "-dumpversion"):
        done = subprocess.run([*command, flag], capture_output=True, check=False)
        version = done.stdout.decode(errors="replace").strip()
        if done.returncode == 0 and version[:1].isdigit():
            return f"{name} {version}"
    return name
