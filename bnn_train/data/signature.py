"""Digests of images and labels: whether they are those that a run was started with."""

import hashlib
from collections.abc import Iterable, Sequence

from bnn_train.data.image_file import DIGEST
from bnn_train.data.splits import Images, Split
from bnn_train.data.stored import Stored

_AT_A_TIME = 256  # images
_BY_IMAGE = "by image "  # how digests of images' digests begin


def digest(splits: Sequence[Split], like: str | None = None) -> str:
    """Of all pixels and labels. Where images stay on the disk, of the digests that are kept of each, so as not to read them all.

    like: another digest, of the kind that is wanted; so a run may go on where its images lie elsewhere.
    """
    by_image = isinstance(splits[0].images, Stored) if like is None else like.startswith(_BY_IMAGE)
    found = hashlib.sha256()
    for split in splits:
        for part in _digests(split.images) if by_image else _pixels(split.images):
            found.update(part)
        found.update(split.labels.cpu().contiguous().numpy().data)
    return f"{_BY_IMAGE if by_image else ''}{found.hexdigest()[:32]}"


def _pixels(images: Images) -> Iterable[memoryview]:
    parts = images.split(_AT_A_TIME) if isinstance(images, Stored) else [images]
    return (part.cpu().contiguous().numpy().data for part in parts)


def _digests(images: Images) -> Iterable[bytes]:
    if isinstance(images, Stored):
        return (each.tobytes() for each in images.digests())
    return (hashlib.sha256(each.data).digest()[:DIGEST] for each in images.cpu().contiguous().numpy())
