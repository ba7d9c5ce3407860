"""Whether an exported file gives what the torch network gives: on its whole test set, and on random images."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from bnn_train.deploy import reference
from bnn_train.deploy.bounds import bounds
from bnn_train.deploy.packed import Packed
from bnn_train.deploy.runner import Network

RANDOM_IMAGES = 1000
_LOOKED_INTO = 50  # test images whose bounds are computed even where nothing differs
_AT_A_TIME = 2**24  # numbers of all values of a batch that bounds are computed for

_BATCH = 500

Scores = Callable[[np.ndarray], np.ndarray]  # uint8 (N, C, H, W) to float32 (N, classes)


@dataclass
class Proof:
    """Of each set of images how many there are, and on how many the predicted class is the same."""

    images: dict[str, int] = field(default_factory=dict)
    equal: dict[str, int] = field(default_factory=dict)
    difference: float = 0.0  # the largest of a class score
    bound: float = 0.0  # the largest that rounding can make on the images looked into, where every sign is the same
    within_rounding: int = 0  # images with a larger difference, since a sign is within rounding of its threshold
    as_written: str = ""  # what running the file gave, where it is of another format than .bnn
    wrong: list[str] = field(default_factory=list)  # images that differ by more than rounding explains

    def line(self) -> str:
        test, random = (f"{self.equal[name]:,} of {self.images[name]:,}" for name in ("test", "random"))
        text = f"equal on {test} test images and {random} random ones; "
        if not self.images["test"]:
            text = f"equal on {random} random images, and compared on no test images; "
        text += f"class scores differ by {self.difference:.1e} at most, where rounding can make {self.bound:.1e}"
        if self.within_rounding:
            count = self.within_rounding
            text += f"; in {count:,} image{'s' * (count > 1)} a sign is within rounding of its threshold"
        return text


def prove(network: Network, packed: Packed, scores: Scores, test: np.ndarray) -> Proof:
    """Compares the network that was read back with torch's `scores` on test images, uint8 (N, C, H, W), and on random ones.

    packed: as it was exported, with what is known of torch's rounding.
    """
    proof = Proof()
    for name, images in (("test", test), ("random", random_images(packed))):
        _compare(proof, name, network, packed, images, _scores(scores, images, f"{name} images, as trained"))
    return proof


def random_images(packed: Packed) -> np.ndarray:
    """Of random pixels, the same each time: uint8 (RANDOM_IMAGES, C, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, *packed.image_shape), dtype=np.uint8)


def _scores(function: Scores, images: np.ndarray, title: str) -> np.ndarray:
    """With a bar where somebody watches: large networks take minutes."""
    starts = tqdm(range(0, max(1, len(images)), _BATCH), title, unit_scale=_BATCH, unit="img", disable=None, leave=False)
    return np.concatenate([function(images[start : start + _BATCH]) for start in starts])


def _compare(proof: Proof, name: str, network: Network, packed: Packed, images: np.ndarray, theirs: np.ndarray) -> None:
    ours = _scores(network.logits, images, f"{name} images, as exported")
    differ = np.abs(ours.astype(np.float64) - theirs)
    differ[np.isnan(differ)] = np.inf
    same = ours.argmax(axis=1) == theirs.argmax(axis=1)
    proof.images[name], proof.equal[name] = len(images), int(same.sum())
    sample = np.arange(len(images)) < _LOOKED_INTO
    for chosen in (sample, None):
        if chosen is None:  # all that the bound of the sample does not explain
            chosen = ~sample & (~same | (differ.max(axis=1) > proof.bound))
        _look_into(proof, name, packed, np.nonzero(chosen)[0], images, ours, theirs)
    proof.difference = max(proof.difference, float(differ[differ.max(axis=1) <= proof.bound].max(initial=0.0)))


def _look_into(
    proof: Proof, name: str, packed: Packed, chosen: np.ndarray, images: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> None:
    """Computes the bounds of the chosen images, and what is wrong with them."""
    size = 0
    start = 0
    while start < len(chosen) and len(proof.wrong) < 10:
        part = chosen[start : start + max(1, size)]
        start += len(part)
        values = reference.run(packed, images[part])
        size = max(1, _AT_A_TIME // (sum(value.size for value in values) // len(part)))
        found = bounds(packed, values)
        differ = np.abs(ours[part].astype(np.float64) - theirs[part])
        inside = (differ <= found.scores).all(axis=1)
        as_defined = (values[-1].astype(np.float32) == ours[part]).all(axis=1)
        proof.within_rounding += int((~inside & found.uncertain).sum())
        proof.bound = max(proof.bound, float(found.scores.max()))
        for k in np.nonzero(~as_defined | ~(inside | found.uncertain))[0]:
            proof.wrong.append(f"{name} image {part[k]}: {differ[k].max():.2g} where rounding can make {found.scores[k].max():.2g}")
