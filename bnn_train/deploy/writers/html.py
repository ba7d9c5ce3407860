"""The network as a web page: one file that shows it at work in any browser, without a server or a network."""

import base64
import html
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bnn_train import files
from bnn_train.deploy import about, file
from bnn_train.deploy.describe import rows
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Packed
from bnn_train.deploy.runner import Network
from bnn_train.deploy.writers.browser import Browser, NoAnswer, find
from bnn_train.errors import ConfigError
from bnn_train.report.tables import size

SUFFIX = ".html"
SECONDS = 60.0  # so long a browser computes, at most, for the proof
_PAGE = Path(__file__).with_name("page")
_SHOWN = ("classes", "kind", "epoch", "step", "figures", "float32_bytes", "program")  # of what is known of the network
_DRAWN = {"mnist": (1, 28, 28), "kmnist": (1, 28, 28), "digits": (1, 8, 8)}  # data sets of handwriting, and their images


def write(packed: Packed, path: Path) -> None:
    """Writes the page; a crash leaves the old file, or none. Raises ConfigError where the network is none or cannot be written."""
    text = page(packed)
    files.write(path, lambda to: to.write(text.encode("utf-8")))


def page(packed: Packed) -> str:
    """The page: the exported file in base64, what reads and computes it, and what shows it."""
    channels = packed.image_shape[0]
    if channels not in (1, 3):
        remedy = f"pictures have 1 or 3 channels, and the network takes {channels}; another format takes arrays"
        raise ConfigError("format", "html", remedy)
    data = about.data(packed.about)
    # What tells of this machine is left out: a page is made to be shown around.
    shown = {key: packed.about[key] for key in _SHOWN if key in packed.about}
    shown["data"] = {key: data[key] for key in ("name", "image_size", "fit") if key in data}
    content = file.encode(replace(packed, about=shown))
    values = infer(packed)
    facts = {
        "classes": packed.about["classes"],
        "image_shape": list(packed.image_shape),
        "values": [[value.kind, list(value.shape)] for value in values],
        "shown": [{"value": i, "name": name, "kind": values[i].kind, "shape": list(values[i].shape)} for i, name in seen(packed)],
        "fit": about.fit(packed.about, packed.image_shape),
        "tall_first": _tall_first(),
        "drawn": data["name"] if data.get("name") in _DRAWN and packed.image_shape == _DRAWN[data["name"]] else None,
    }
    parts = {
        "title": html.escape(_title(packed, data)),
        "about": html.escape(_sentence(packed, len(content))),
        "figures": "".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(figure)}</dd></div>"
            for name, figure in _figures(packed, len(content))
        ),
        "facts": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
        "network": base64.b64encode(content).decode("ascii"),
    }
    return re.sub(r"\{\{([a-z.]+)\}\}", lambda name: parts.get(name[1]) or _text(name[1]), _text("page.html"))


def seen(packed: Packed) -> list[tuple[int, str]]:
    """Which values are shown, and the layer that each is of: the first two of signs, else the first two products."""
    signs = [(i + 1, _layer(packed, i)) for i, op in enumerate(packed.ops) if op.kind == "sign"]
    return (signs or [(i + 1, op.name) for i, op in enumerate(packed.ops[:-1]) if op.kind in ("linear", "conv2d")])[:2]


def _tall_first() -> bool:
    """Whether the Pillow that is installed, which prepares images for training, resizes as version 13 does: see pictures.js."""
    try:
        return int(version("pillow").partition(".")[0]) >= 13
    except (PackageNotFoundError, ValueError):
        return True


def _layer(packed: Packed, i: int) -> str:
    """The name of the last layer with weights before operation i; the image has none."""
    while packed.ops[i].kind not in ("linear", "conv2d"):
        before = packed.ops[i].inputs[0]
        if before == 0:
            return "image"
        i = before - 1
    return packed.ops[i].name


def compare(path: Path, network: Network, images: np.ndarray) -> str | None:
    """Class scores of the page, in a Chromium that is installed here, beside the runner's, for at most `SECONDS`.

    images: uint8 (N, C, H, W). Returns a phrase for people; None where there is no such browser. Raises ConfigError where scores
    differ in a bit; where there is a sigmoid, in whose last bit readers may differ, in more than that.
    """
    program = find()
    try:
        found, name = ([], "") if program is None else _computed(program, path, images)
    except NoAnswer:  # one that is installed and does not start, in a container, say
        program = None
    if program is None:
        return None
    done = images[: sum(map(len, found))]
    equal, near = _agreeing(np.concatenate(found), network, done) if found else (0, 0)
    if near < len(done):
        remedy = f"in {name} it gives other class scores than the network on {len(done) - near} of {len(done)} images"
        raise ConfigError("format", path, f"{remedy}; please report this")
    first = "" if len(done) == len(images) else f"the first {len(done):,} of "
    those = f"{equal:,} of {first}{len(images):,} images"
    others = "; on the others they differ by the last bit of a sigmoid" if equal < near else ""
    return f"{name}: equal class scores on {those}{others}"


def _computed(program: str, path: Path, images: np.ndarray) -> tuple[list[np.ndarray], str]:
    """The scores of the images that there is time for, and the browser's name."""
    parts: list[np.ndarray] = []
    done, count, start = 0, 1, time.monotonic()
    with Browser(program, path) as browser:
        while done < len(images) and time.monotonic() - start < SECONDS:
            before = time.monotonic()
            parts.append(scores(browser, images[done : done + count]))
            done += len(parts[-1])
            pace = (time.monotonic() - before) / count
            count = int(min(1000, 2 * count, max(1, 5 / pace)))
        return parts, browser.version


def scores(browser: Browser, images: np.ndarray) -> np.ndarray:
    """What the page that is open computes, float32 (N, classes)."""
    data = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode("ascii")
    found = base64.b64decode(browser.evaluate(f"scoresOf('{data}')"))
    return np.frombuffer(found, "<f4").reshape(len(images), -1)


def _agreeing(found: np.ndarray, network: Network, images: np.ndarray) -> tuple[int, int]:
    """On how many images the scores are what they must be, and on how many they are as near as a sigmoid's last bit allows.

    What meets an infinity is not defined.
    """
    expected = network.logits(images)
    equal = (found == expected) | ~np.isfinite(expected)
    near = equal.copy()
    if any(op.kind == "sigmoid" for op in network.packed.ops):
        near |= np.isclose(found, expected, rtol=1e-5, atol=1e-5)
    return int(equal.all(axis=1).sum()), int(near.all(axis=1).sum())


def _title(packed: Packed, data: dict[str, Any]) -> str:
    name = data.get("name")
    if isinstance(name, str) and name != "image_folder":
        return f"A binary network for {_NAMES.get(name, name)}"
    classes = [str(c) for c in packed.about["classes"]]
    if len(classes) > 4:
        return f"A binary network for {len(classes)} kinds of images"
    return f"A binary network for {', '.join(classes[:-1])}{' and ' * (len(classes) > 1)}{classes[-1]}"


def _sentence(packed: Packed, count: int) -> str:
    if any(row.binary_macs for row in rows(packed)):
        signs = " Most of its weights and activations are −1 or +1, one bit each."
    else:
        binary = any(op.kind in ("linear", "conv2d") and op.tensors["weight"].dtype == np.uint8 for op in packed.ops)
        signs = " Most of its weights are −1 or +1, one bit each." if binary else ""
    return f"A neural network of {size(count)}.{signs}"


def _figures(packed: Packed, count: int) -> Iterator[tuple[str, str]]:
    """Names and figures below the page."""
    float32, figures = packed.about.get("float32_bytes"), packed.about.get("figures") or {}
    if isinstance(figures.get("test_accuracy"), float):
        yield "of test images right", f"{100 * figures['test_accuracy']:.2f} %"
    yield f"instead of {size(float32)} in float32" if isinstance(float32, int) else "in all", size(count)
    binary, real = (sum(getattr(row, name) for row in rows(packed)) for name in ("binary_macs", "real_macs"))
    if binary:
        yield "products of bits, an image", f"{binary:,}"
    yield "other products" if binary else "products, an image", f"{real:,}"


_NAMES = {
    "mnist": "MNIST", "kmnist": "Kuzushiji-MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100", "digits": "handwritten digits",
}  # fmt: skip


def _text(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8").strip()
