"""What a network said of the test images: confusion matrix, accuracy of each class, the mistakes that it was surest of."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """One test image that was taken for another class."""

    index: int  # in the test set
    label: str
    guess: str
    probability: float  # of the guess
    image: str | None  # a data: URI, where the run has stored the pixels
    size: tuple[int, int]  # width and height in pixels


@dataclass(frozen=True)
class Predicted:
    """confusion: how often an image of a class (row) was taken for each class (column), int64 (classes, classes)."""

    classes: list[str]
    confusion: Any
    mistakes: list[Mistake]  # the surest first
    wrong: int  # how many there are in all


def read(run_dir: Path) -> Predicted | None:
    """From predictions.npz; None where there is none, or it is damaged."""
    import numpy as np

    try:
        # Opened here: of a damaged file numpy leaves its own open.
        with open(run_dir / "predictions.npz", "rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {key: file[key] for key in ("scores", "labels", "classes", "wrong", "wrong_index") if key in file}
        scores, labels = found["scores"].astype(np.float64), found["labels"].astype(np.int64)
        if scores.ndim != 2 or scores.shape[0] != len(labels) or not len(labels):
            return None
        count = scores.shape[1]
        if labels.min() < 0 or labels.max() >= count:
            return None
    except Exception:  # whatever zipfile, zlib and numpy raise for rubbish
        return None
    names = [str(name) for name in found["classes"]] if len(found.get("classes", ())) == count else [str(i) for i in range(count)]
    scores = np.nan_to_num(scores, nan=-np.inf, posinf=1e30, neginf=-1e30)
    guesses = scores.argmax(axis=1)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, guesses), 1)
    return Predicted(names, confusion, _mistakes(scores, labels, guesses, names, found), int((labels != guesses).sum()))


def _mistakes(scores: "np.ndarray", labels: "np.ndarray", guesses: "np.ndarray", names: list[str], found: Any) -> list[Mistake]:
    import numpy as np

    with np.errstate(invalid="ignore", under="ignore"):
        sure = np.nan_to_num(1 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1), nan=0.0)
    wrong = np.flatnonzero(labels != guesses)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_MISTAKES].tolist()
    stored: dict[int, np.ndarray] = {}
    if "wrong" in found and "wrong_index" in found and found["wrong"].ndim == 4:
        stored = dict(zip(found["wrong_index"].tolist(), found["wrong"], strict=False))
        if set(stored) <= set(wrong.tolist()):
            order = list(stored) or order  # as the run chose them: of two that are as sure another might be first here
    mistakes = []
    for i in order:
        pixels = stored.get(i)
        size = (0, 0) if pixels is None else (pixels.shape[2], pixels.shape[1])
        image = None if pixels is None else _uri(pixels)
        mistakes.append(Mistake(i, names[labels[i]], names[guesses[i]], float(sure[i]), image, size))
    return mistakes


def _uri(pixels: "np.ndarray") -> str | None:
    """uint8 (C, H, W) as a PNG; None where it has neither one nor three channels."""
    import numpy as np
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.shape[0] not in (1, 3):
        return None
    image = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
