"""The network that teaches a run: found, copied into the run directory, made ready, and what is told of it.

The copy is what the run goes on with: where the teacher lay may be gone by then.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bnn_train import files, plugins
from bnn_train.binary.layers import hold
from bnn_train.config.data import DataConfig
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.root import Config
from bnn_train.data.augment import pixels
from bnn_train.data.batches import eval_batches
from bnn_train.data.splits import Data
from bnn_train.data.words import listed
from bnn_train.errors import ConfigError
from bnn_train.models.layer_table import LayerRow, layer_rows
from bnn_train.report import tables
from bnn_train.runs import checkpoint, directory, saved
from bnn_train.runs.resume import config_of, network_state
from bnn_train.training import distillation
from bnn_train.training.trainer import Trainer

KEY = "distill.teacher"
TIMED = 5  # forward passes of the teacher whose median is its time


class Exported(Protocol):
    """An exported network, of whose file only what stands above can make one (deploy/teacher.py)."""

    image_shape: tuple[int, int, int]
    classes: list[str]

    def logits(self, images: np.ndarray) -> np.ndarray: ...

    def told(self) -> dict[str, Any]: ...


Reader = Callable[[Path], Exported | None]  # None for a path that is no exported file


class Found(NamedTuple):
    """A teacher that is there, not yet a network in memory: the state of a result, or an exported network."""

    path: Path
    state: dict[str, Any] | None
    exported: Exported | None

    def save(self, run_dir: Path) -> None:
        """Copies it into a new run's directory."""
        for name in directory.TEACHERS:
            (run_dir / "checkpoints" / name).unlink(missing_ok=True)  # of another try
        pt, bnn = (run_dir / "checkpoints" / name for name in directory.TEACHERS)
        if self.state is not None:
            checkpoint.save(self.state, pt)
        else:
            files.write(bnn, lambda file: file.write(self.path.read_bytes()))

    def registered(self) -> dict[str, list[str]]:
        """Its plugins, as `plugins.registered` gives them: of the teacher, so that what the run trains may do without
        (resume.config_of)."""
        named = [] if self.state is None else self.state["config"].get("plugins", [])
        return {f"distill={plugins.identity(name)}": ["plugin", plugins.identity(name)] for name in named}


def find(config: Config, run_dir: Path, is_new: bool, exported: Reader | None) -> Found | None:
    """The teacher of a run, if it has one: where the configuration says, or of a run that goes on its copy.

    exported: reads exported files. Raises ConfigError where there is none, or not one that can teach this run.
    """
    if not isinstance(config.distill, TeacherConfig):
        return None
    path = Path(config.distill.teacher)
    if not is_new:
        there = [copy for name in directory.TEACHERS if (copy := run_dir / "checkpoints" / name).is_file()]
        if not there:
            remedy = f"holds no checkpoints/{directory.TEACHERS[0]}, the copy of its teacher, so that it cannot go on as it began"
            raise ConfigError("resume", run_dir, f"{remedy}; init_from starts a new run from its weights")
        path = there[0]
    elif not path.exists():
        raise ConfigError(
            KEY, config.distill.teacher, f"is not here ({path.absolute()}); give a run, a checkpoint or an exported file"
        )
    found = None if exported is None or path.is_dir() else exported(path)
    if found is None:
        return Found(path, _result(config, path, run_dir, is_new), None)
    if config.data.mixup:
        remedy = "mixes images, and an exported network takes pixels alone; give the run that it was made of, or leave mixup at 0"
        raise ConfigError("data.mixup", config.data.mixup, remedy)
    return Found(path, None, found)


def _result(config: Config, path: Path, run_dir: Path, is_new: bool) -> dict[str, Any]:
    """The network that a checkpoint holds, as a result: weights and masks, configuration, images, which one it is."""
    file = checkpoint.find(path, KEY)
    if is_new and file.resolve().parent == (run_dir / "checkpoints").resolve():
        raise ConfigError(KEY, path, "is this run itself; a teacher is trained before, in a directory of its own")
    state = checkpoint.load(file, KEY)
    if "teacher" in state:  # a copy, of this run or of another
        return state
    kind, epoch, step = saved.which(state)
    network, accuracy = network_state(state), _test_accuracy(state, file)
    about = {"network": str(path), "kind": kind, "epoch": epoch, "step": step}
    return {
        "config": asdict(config_of(state, to_train=False)),
        **{name: state[name] for name in ("data", "plugins", "registered") if name in state},
        "model": network["model"],
        "edges": network.get("edges", {}),
        "result": {"kind": kind, "epoch": epoch, "step": step},
        "teacher": about if accuracy is None else {**about, "test_accuracy": accuracy},
    }


def _test_accuracy(state: Mapping[str, Any], file: Path) -> float | None:
    """Of the network of a checkpoint, where its run has measured that one."""
    if "result" in state:
        summary = directory.read_summary(file.parent.parent) or {}
        same = all(summary.get(name) == value for name, value in state["result"].items())
        return summary.get("test_accuracy") if same else None
    network = network_state(state)
    return None if network["step"] or not network["history"] else network["history"][-1].get("test_accuracy")


class Taught:
    """A run's teacher at work.

    layers: whose attention maps are matched. about: network, kind, epoch, step, test_accuracy, bits, binary_macs, real_macs, as far
    as they are known.
    """

    def __init__(self, teacher: distillation.Teacher, layers: list[str], about: dict[str, Any]) -> None:
        self.about = about
        self._teacher, self._layers = teacher, layers

    def line(self) -> str:
        """Which network it is, and what it costs."""
        accuracy = f"test accuracy {self.about['test_accuracy']:.2%}, " if "test_accuracy" in self.about else ""
        macs = f"{self.about['binary_macs']:,} binary and {self.about['real_macs']:,} real MACs for each training image"
        at = f"; attention at {listed(self._layers)}" if self._layers else ""
        kind = tables.KINDS.get(self.about.get("kind", ""), "an exported network")
        return f"teacher: {files.for_people(Path(self.about['network']))}, {kind}, {accuracy}{self.about['bits']}, {macs}{at}"

    def teach(self, trainer: Trainer) -> None:
        """Lets the trainer's steps follow the teacher."""
        config = trainer.config.distill
        assert isinstance(config, TeacherConfig)
        self._used = distillation.Distillation(config, trainer.loss, trainer.forward, trainer.model, self._teacher, self._layers)
        trainer.forward, trainer.loss = self._used.forward, self._used.loss

    def told(self, trainer: Trainer, run_dir: Path) -> dict[str, Any]:
        """For the summary at the run's end: what the teacher is, and "share_of_step", its forward pass as a share of a step."""
        config, speed = trainer.config, directory.total_times(run_dir)["images_per_second"]
        inputs, _ = next(eval_batches(trainer.data.train, config.data, config.trainer.batch_size))
        times = []
        for _ in range(TIMED):
            start = time.perf_counter()
            self._used.shown(inputs)[0].sum().item()  # which waits for the device
            times.append(time.perf_counter() - start)
        share = statistics.median(times) * speed / config.trainer.batch_size
        return {"teacher": {**self.about, "share_of_step": round(share, 3)}}


def ready(found: Found | None, config: Config, model: nn.Module, data: Data) -> Taught | None:
    """The teacher on the data's device, if there is one. torch's generators stay as they were.

    Raises ConfigError where it was trained for other classes or images, or where its layers are not the network's.
    """
    if found is None:
        return None
    assert isinstance(config.distill, TeacherConfig)
    image = next(eval_batches(data.train, config.data, 1))[0]
    if found.exported is not None:
        _check_images(config.distill, found.exported.classes, found.exported.image_shape, data)
        about = {"network": config.distill.teacher, **found.exported.told()}
        teacher = distillation.Teacher(_of_pixels(found.exported, config.data))
    else:
        assert found.state is not None
        _check_images(config.distill, found.state["data"]["classes"], found.state["data"]["image_shape"], data)
        theirs, where = config_of(found.state, to_train=False), data.train.labels.device
        with torch.random.fork_rng([where] if where.type == "cuda" else []):
            network = saved.network(found.state, theirs, where, KEY, found.path).requires_grad_(False)
        hold(network)
        normal = _normalised(config.data, theirs.data, where)
        about = {**found.state["teacher"], **_cost(layer_rows(network, normal(image)))}
        teacher = distillation.Teacher(lambda inputs: network(normal(inputs)), network)
    return Taught(teacher, distillation.layers(config.distill, model, teacher.module, image), about)


def _check_images(config: TeacherConfig, classes: Sequence[str], shape: Sequence[int], data: Data) -> None:
    """Refuses a teacher of other classes, or of images of another size."""
    if list(classes) != list(data.classes):
        remedy = f"knows {len(classes)} classes ({listed(classes)}), and the data have {len(data.classes)} ({listed(data.classes)})"
        raise ConfigError(KEY, config.teacher, f"{remedy}; a teacher has the same, in the same order")
    if tuple(shape) != tuple(data.image_shape):
        theirs, own = ("x".join(map(str, sizes)) for sizes in (shape, data.image_shape))
        raise ConfigError(KEY, config.teacher, f"takes images of {theirs}, and the data are {own}; train one on such images")


def _normalised(own: DataConfig, theirs: DataConfig, where: torch.device) -> Callable[[Tensor], Tensor]:
    """From inputs with the run's mean and deviation to those with the teacher's; where they are the same, the very inputs."""
    if (own.mean, own.std) == (theirs.mean, theirs.std):
        return lambda inputs: inputs
    means, stds = ([torch.tensor(getattr(of, name)).view(1, -1, 1, 1) for of in (own, theirs)] for name in ("mean", "std"))
    factor, shift = (stds[0] / stds[1]).to(where), ((means[0] - means[1]) / stds[1]).to(where)
    return lambda inputs: inputs * factor + shift


def _of_pixels(network: Exported, data: DataConfig) -> distillation.Forward:
    """An exported network's class scores of normalised images, whose pixels are whole numbers that rounding gives back.

    (Where data.cutout has set a square to the mean, the nearest ones.)
    """

    def scores(inputs: Tensor) -> Tensor:
        return torch.from_numpy(network.logits(pixels(inputs, data.mean, data.std).cpu().numpy())).to(inputs.device)

    return scores


def _cost(rows: list[LayerRow]) -> dict[str, Any]:
    """{"bits": "W1A1", "binary_macs", "real_macs"}: the fewest bits of a layer's weights and of its inputs."""
    counted = [row for row in rows if row.binary_macs + row.real_macs]
    weights, inputs = (min((getattr(row, name) for row in counted), default=32) for name in ("weight_bits", "input_bits"))
    macs = {name: sum(getattr(row, name) for row in rows) for name in ("binary_macs", "real_macs")}
    return {"bits": f"W{weights}A{inputs}", **macs}
