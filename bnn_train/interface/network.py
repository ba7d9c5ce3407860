"""A trained network as an object, whether torch holds it or a file of 1 bit a weight."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bnn_train import deploy
from bnn_train.deploy import about, infer, pictures
from bnn_train.deploy.file import is_exported
from bnn_train.deploy.packed import inputs_of, weights
from bnn_train.deploy.runner import checked, softmax
from bnn_train.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from bnn_train.runs.saved import Saved

Images = Any  # an array, a torch tensor, a PIL image, the path or the bytes of an image file, or a list of the last three


class Network:
    """What `load` gives. Images are uint8 arrays (N, channels, height, width), one such image, or with one channel (N, height,
    width); with layout="nhwc" channels come last. Or image files and PIL images, one or a list, prepared as in training."""

    def __init__(
        self,
        file: Path,
        which: Mapping[str, Any],
        classes: list[str],
        wanted: pictures.Wanted,
        logits: Callable[[np.ndarray], np.ndarray],
        source: "Saved | deploy.Network",
    ) -> None:
        self.file, self.which, self.classes = file, dict(which), classes
        self._place = file.absolute()  # wherever the program goes
        self._wanted, self._logits, self._source = wanted, logits, source

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self._wanted.shape

    @property
    def module(self) -> "nn.Module | None":
        """The torch network, in evaluation mode, for images that are normalised; None of an exported file, which has none."""
        return None if isinstance(self._source, deploy.Network) else self._source.model

    def logits(self, images: Images, layout: str = "nchw") -> np.ndarray:
        """Class scores, float32 (N, classes). Raises ConfigError for what are no such images."""
        return self._logits(self._pixels(images, layout))

    def probabilities(self, images: Images, layout: str = "nchw") -> np.ndarray:
        """The softmax of the class scores, float32 (N, classes)."""
        return softmax(self.logits(images, layout))

    def predict(self, images: Images, layout: str = "nchw") -> np.ndarray:
        """The number of the class with the highest score, of equals the first, int64 (N,); `classes` has their names."""
        return self.logits(images, layout).argmax(axis=1)

    def binary_weights(self) -> dict[str, np.ndarray]:
        """{layer name: int8 array of -1 and +1, 0 where an edge is pruned}, in the shape of the layer's weight."""
        if isinstance(self._source, deploy.Network):
            return _of_file(self._source)
        from bnn_train.binary.layers import BinaryLayer

        return {
            name: layer.binary_weight().cpu().numpy().astype(np.int8)
            for name, layer in self._source.model.named_modules()
            if isinstance(layer, BinaryLayer) and layer.binarizer.bits == 1
        }

    def evaluate(self, data_root: str | Path | None = None, samples: int | None = None) -> dict[str, Any]:
        """What bnn-eval prints: test_accuracy in [0, 1], test_loss, and of the held-out images where there are any.

        data_root: where the images are now, if not where they were in training. samples: also test_ensemble_accuracy and the like,
        of the mean of so many networks drawn from a stochastic one.
        """
        root = None if data_root is None else str(data_root)
        if samples is not None and isinstance(self._source, deploy.Network):
            remedy = "an exported network draws none; load the run that it was made of, or leave it out"
            raise ConfigError("samples", samples, remedy)
        from bnn_train.deploy.evaluate import evaluate_exported
        from bnn_train.interface import kept
        from bnn_train.runs.saved import evaluate_saved

        with kept.settings():
            if isinstance(self._source, deploy.Network):
                found = evaluate_exported(self._place, root)
            else:
                found = evaluate_saved(self._place, root, samples=samples)
        return found | {"checkpoint": self.which["checkpoint"]}

    def __repr__(self) -> str:
        shape, names = "x".join(map(str, self.image_shape)), ", ".join(self.classes[:4])
        more = ", ..." if len(self.classes) > 4 else ""
        return f"<Network of {self.file} for {shape} images, {len(self.classes)} classes: {names}{more}>"

    def _pixels(self, images: Images, layout: str) -> np.ndarray:
        """uint8 (N, C, H, W)."""
        several = images if isinstance(images, list | tuple) else [images]
        are_pictures = [isinstance(each, str | Path | bytes | Image.Image) for each in several]
        if several and all(are_pictures):
            return _read(several, self._wanted)
        if any(are_pictures):
            raise ConfigError("images", f"a list of {len(several)}", "holds arrays and image files; give them one after the other")
        if not several:
            return np.empty((0, *self.image_shape), np.uint8)
        arrays = [each.detach().cpu().numpy() if hasattr(each, "requires_grad") else each for each in several]  # of torch
        if not isinstance(images, list | tuple):
            return checked(arrays[0], self.image_shape, layout)
        shapes = [each.shape for each in arrays if isinstance(each, np.ndarray)]
        if len(set(shapes)) > 1:
            other = next(shape for shape in shapes if shape != shapes[0])
            raise ConfigError("images", f"shapes {shapes[0]} and {other}", "arrays in one list must be of one shape")
        return checked(arrays, self.image_shape, layout)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str], plugins: Sequence[str] = ()) -> Network:
    """The network of a run directory (its result, or what it has reached), of a checkpoint, or of an exported file (.bnn).

    plugins: modules or .py files that the run was trained with, to be imported; an exported file needs none. Raises ConfigError
    where `path` is none of them. torch is loaded for the first two alone, and left as it was found.
    """
    file = Path(path).expanduser()
    if plugins:
        from bnn_train.plugins import load as load_plugins

        load_plugins(plugins)
    if is_exported(file):
        network = deploy.load(file)
        wanted = pictures.wanted(network.about, network.image_shape)
        return Network(file, about.which(network.about, file), network.classes, wanted, network.logits, network)
    from bnn_train.interface import kept
    from bnn_train.runs import saved

    with kept.settings():
        found = saved.load(file, "path", "auto")
    channels, height, width = found.data["image_shape"]
    wanted = pictures.wanted({"data": vars(found.config.data)}, (channels, height, width))
    return Network(file, found.which(), list(found.data["classes"]), wanted, partial(_by_torch, found), found)


def _by_torch(found: "Saved", images: np.ndarray) -> np.ndarray:
    from bnn_train.binary.layers import unchanged
    from bnn_train.runs import saved

    at_once = found.config.trainer.eval_batch_size
    with unchanged(found.model):
        parts = [saved.logits(found, images[start : start + at_once]) for start in range(0, len(images), at_once)]
    return np.concatenate(parts) if parts else np.empty((0, len(found.data["classes"])), np.float32)


def _read(images: Sequence[str | Path | bytes | Image.Image], wanted: pictures.Wanted) -> np.ndarray:
    """Image files, their bytes and PIL images as training prepares them. Raises ConfigError for one that cannot be read."""
    found = [_picture(image, number) for number, image in enumerate(images)]
    rows = []
    for each in pictures.prepared(found, wanted._replace(shape=pictures.shape_of_pictures(wanted.shape))):
        if isinstance(each, pictures.Failure):
            raise ConfigError("images", each.name, each.reason)
        rows.append(each.pixels)
    return np.stack(rows)


def _picture(image: str | Path | bytes | Image.Image, number: int) -> pictures.Picture:
    if isinstance(image, str | Path):
        return pictures.Picture(str(image), Path(image).expanduser())
    return pictures.Picture(f"[{number}]", image)


def _of_file(network: deploy.Network) -> dict[str, np.ndarray]:
    values, found = infer.infer(network.packed), {}
    for op in network.packed.ops:
        if op.kind in ("linear", "conv2d") and op.tensors["weight"].dtype == np.uint8:
            signs = weights(op, inputs_of(op, values[op.inputs[0]].shape[0])).astype(np.int8)
            found[op.name] = signs if op.kind == "linear" else signs.reshape(len(signs), -1, *op.settings["kernel"])
    return found
