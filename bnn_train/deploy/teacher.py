"""An exported network as a teacher: what runs/teacher.py needs of one, which stands below and cannot import it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded where there is such a teacher: a run without one need not wait for it
    import numpy as np

    from bnn_train.deploy.packed import Packed
    from bnn_train.deploy.runner import Network


class ExportedTeacher:
    """A network for uint8 images, and what is told of it."""

    def __init__(self, network: "Network") -> None:
        self.image_shape, self.classes = network.image_shape, network.classes
        self._network = network

    def logits(self, images: "np.ndarray") -> "np.ndarray":
        """float32 (N, classes) of uint8 (N, C, H, W)."""
        return self._network.logits(images)

    def told(self) -> dict[str, Any]:
        """{"kind", "epoch", "step", "test_accuracy"}, what of it the file tells, and "bits", "binary_macs", "real_macs"."""
        about = self._network.about
        figures = about.get("figures")
        found = {name: about[name] for name in ("kind", "epoch", "step") if name in about}
        if isinstance(figures, dict) and isinstance(figures.get("test_accuracy"), float):
            found["test_accuracy"] = figures["test_accuracy"]
        return {**found, **_cost(self._network.packed)}


def exported(path: Path) -> ExportedTeacher | None:
    """The network of an exported file; None where `path` is none. Raises ConfigError for one that is damaged."""
    from bnn_train.deploy import file, runner

    return ExportedTeacher(runner.Network(file.read(path, "distill.teacher"))) if file.is_exported(path) else None


def _cost(packed: "Packed") -> dict[str, Any]:
    """{"bits": "W1A1", "binary_macs", "real_macs"}: the fewest bits of a layer's weights and of its inputs."""
    from bnn_train.deploy import describe

    rows, layers = list(describe.rows(packed)), list(_layers(packed))
    macs = {f"{kind}_macs": sum(getattr(row, f"{kind}_macs") for row in rows) for kind in ("binary", "real")}
    weights, inputs = (1 if any(column) else 32 for column in zip(*layers, strict=True))
    return {"bits": f"W{weights}A{inputs}", **macs}


def _layers(packed: "Packed") -> Iterator[tuple[bool, bool]]:
    """Of each layer: whether its weights are binary, and its inputs."""
    from bnn_train.deploy.infer import infer

    values = infer(packed)
    for op in packed.ops:
        if op.kind in ("linear", "conv2d"):
            yield op.tensors["weight"].dtype == "uint8", values[op.inputs[0]].kind == "bits"
