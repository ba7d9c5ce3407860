"""From a run, or any network, to a proven file of 1 bit a weight."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bnn_train import files, register
from bnn_train.binary import windows
from bnn_train.binary.layers import unchanged
from bnn_train.data import memory
from bnn_train.data.augment import normalise
from bnn_train.data.splits import Split
from bnn_train.data.stored import Stored
from bnn_train.data.words import in_bytes
from bnn_train.deploy import file, formats
from bnn_train.deploy.about import DATA
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Packed, Unfit
from bnn_train.deploy.packing.pack import pack
from bnn_train.deploy.proof import Proof, prove, random_images
from bnn_train.deploy.runner import Network
from bnn_train.device import CPU
from bnn_train.errors import ConfigError
from bnn_train.runs import environment, saved


class Exported(NamedTuple):
    packed: Packed
    proof: Proof
    which: dict[str, Any]  # checkpoint, kind, epoch, step of the network that it was compared with
    same_images: bool  # whether the test images have the pixels that the network was measured with


def export_run(
    path: Path, output: Path, data_root: str | None = None, random_only: bool = False, form: str | None = None
) -> Exported:
    """The network of a run directory or a checkpoint, proven on its test images, as the file `output`.

    random_only: it is proven on random images alone, where its own are not here. form: one of deploy/formats.py; None: as the
    output's name ends. Raises ConfigError for a network or data that do
    not fit, and where the file would not give what the network gives: then none is written.
    """
    form = formats.of(output, form)
    _check_output(output)
    if file.is_exported(path):
        raise ConfigError("path", path, "is an exported network already; give the run or the checkpoint that it was made of")
    found = saved.load(path, device_name="cpu")
    channels, height, width = found.data["image_shape"]
    images, same_images = np.zeros((0, channels, height, width), np.uint8), True
    if not random_only:
        data, same_images = saved.load_data(found.config.data, found.data, data_root)
        images = _in_memory(data.test)
    plugged = register.FOUND["data"].get(found.config.data.name)
    of_data, source = ((), "") if plugged is None else (plugged.keys, Path(plugged.source).name)
    which = found.which()
    about = {
        "classes": found.data["classes"],
        "image_shape": [channels, height, width],
        "data": {name: getattr(found.config.data, name) for name in (*DATA, *of_data)},
        **({"plugins": [name for name in found.config.plugins if Path(name).name == source]} if source else {}),
        "images": dict(found.data),
        "run": str(found.file.parent.parent if found.file.parent.name == "checkpoints" else found.file.parent),
        **which,
        "figures": _figures(found),
        "eval_batch_size": found.config.trainer.eval_batch_size,
    }
    mean, std = found.config.data.mean, found.config.data.std
    packed, proof = export(found.model, (channels, height, width), mean, std, output, images, about, form)
    return Exported(packed, proof, which, same_images)


def export(
    model: nn.Module,
    image_shape: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
    output: Path | str,
    test_images: np.ndarray,
    about: dict[str, Any],
    form: str | None = None,
) -> tuple[Packed, Proof]:
    """Any network whose input is (x / 255 - mean) / std for uint8 images x of image_shape, (channels, height, width).

    model: on the CPU; it is left in evaluation mode. mean, std: one number, or one for each channel. test_images: uint8
    (N, channels, height, width), to prove it on; random ones are compared anyway. about: plain types, with "classes", a list of
    names. form: one of deploy/formats.py; None: as the output's name ends. Raises ConfigError as `export_run` does.
    """
    output = Path(output)
    form = formats.of(output, form)
    _check_output(output)
    _check_finite(model)
    _check_binary(model)
    if not isinstance(about.get("classes"), list):
        raise ConfigError("classes", about.get("classes"), 'must be a list of names: about={"classes": ["cat", "dog"]}')
    facts = {**about, "float32_bytes": _float32_bytes(model), "versions": environment.versions(), "program": _program()}
    packed = pack(model, image_shape, mean, std, facts)
    try:
        outputs = infer(packed)[-1].shape[0]
    except Unfit as error:
        raise ConfigError("network", type(model).__name__, f"cannot be exported: {error}") from error
    if outputs != len(about["classes"]):
        raise ConfigError(
            "network", type(model).__name__, f"gives {outputs} class scores, but there are {len(about['classes'])} classes"
        )
    with files.writing(output):  # of its own: two exports may be at work
        folder = Path(tempfile.mkdtemp(".part", f"{output.name}.", output.absolute().parent))
    aside = folder / "network.bnn"
    try:
        file.write(packed, aside)
        network = Network(file.read(aside))

        def scores(images: np.ndarray) -> np.ndarray:
            return torch_scores(model, images, mean, std)

        proof = prove(network, packed, scores, test_images)
        if proof.wrong:
            remedy = f"the file would not give what the network gives ({proof.wrong[0]}); nothing was written. Please report this"
            raise ConfigError("network", type(model).__name__, remedy)
        if form != "bnn":
            aside = folder / output.name
            formats.write(form, network.packed, aside)  # what was read back, and no other
            images = np.concatenate([test_images, random_images(packed)])
            proof.as_written = formats.compare(form, aside, network, images)
        with files.writing(output):
            os.replace(aside, output.resolve())  # a link goes on pointing at its file
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return packed, proof


def _in_memory(test: Split) -> np.ndarray:
    """The test images. Raises ConfigError where they stay on the disk and are too many."""
    if isinstance(test.images, Stored) and memory.are_too_many(len(test), test.images.shape[1:], CPU):
        size = in_bytes(test.images.shape.numel())
        remedy = f"the test images are {size}, and are all compared at once; export with --random-only, and measure with bnn-eval"
        raise ConfigError("data.memory", "disk", remedy)
    return test.in_memory().numpy()


@torch.no_grad()
def torch_scores(model: nn.Module, images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """float32 (N, classes) for uint8 images (N, C, H, W), a hundred at a time."""
    with unchanged(model):
        parts: list[Tensor] = [
            model(normalise(part, list(mean), list(std))).float() for part in torch.from_numpy(images).split(100)
        ]
    return torch.cat(parts).numpy()


def _check_finite(model: nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            remedy = "holds NaN or infinite numbers: its training has diverged; choose another run or checkpoint"
            raise ConfigError("network", name, remedy)


def _check_binary(model: nn.Module) -> None:
    for name in windows.unfinished(model):
        remedy = "is not binary yet, its window of training (weights=stompp) has not ended; go on training, then export"
        raise ConfigError("layer", name, remedy)


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise ConfigError("--output", output, "is a folder; name a file in it")
    if not output.absolute().parent.is_dir():
        raise ConfigError("--output", output, f"there is no folder {output.absolute().parent}")


def _figures(found: saved.Saved) -> dict[str, Any]:
    """What summary.json says of this very network; nothing where it is of another."""
    try:
        summary = json.loads((found.file.parent.parent / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    same = all(summary.get(name) == getattr(found, name) for name in ("kind", "epoch", "step"))
    return {name: value for name, value in summary.items() if name.endswith(("_accuracy", "_loss"))} if same else {}


def _float32_bytes(model: nn.Module) -> int:
    """Of all parameters and BatchNorm's statistics, four bytes each."""
    statistics = [b for name, b in model.named_buffers() if b.is_floating_point() and not name.endswith("connected")]
    return 4 * sum(tensor.numel() for tensor in [*model.parameters(), *statistics])


def _program() -> str:
    try:
        return version("bnn-train")
    except PackageNotFoundError:
        return "unknown"
