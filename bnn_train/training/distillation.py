"""A trained network that teaches another one: the loss of its class scores and of where its layers look.

A Distillation stands in the place of a trainer's loss and forward. It looks into the student's layers while a training step calls
the network and at no other time, so that nothing of it is left in a copy, a checkpoint, an evaluation or an average.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryLayer
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.words import close
from bnn_train.data.words import listed
from bnn_train.errors import ConfigError
from bnn_train.models.around import Residual
from bnn_train.training.losses import Loss

Forward = Callable[[Tensor], Tensor]


def kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch, of class scores (N, classes).

    T^2 keeps the gradient's size where T rises (Hinton et al. 2015, arXiv 1503.02531). With T = 1 it is, but for a constant, the
    distribution loss of ReActNet (Liu et al. 2020, arXiv 2003.03488).
    """
    scores, targets = F.log_softmax(student / temperature, dim=1), F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(scores, targets, reduction="batchmean", log_target=True)


def attention_map(features: Tensor) -> Tensor:
    """Where a layer looks: the sum over the channels of its squared outputs (N, C, H, W), divided by its 2-norm; (N, H * W).

    The same for features times any number but 0; 0 where they are all 0. (Zagoruyko & Komodakis 2017, arXiv 1612.03928.)
    """
    return F.normalize(features.square().sum(dim=1).flatten(1), dim=1)


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """|student - teacher|^2 of attention maps (N, H * W), the mean over the batch; within [0, 2].

    Squared as where the maps come from, and as in Larq's Real-to-Binary, whose weight of 30 goes with a mean over the layers;
    the paper (Martinez et al. 2020, arXiv 2003.11535) sums the norms themselves.
    """
    return (student - teacher).square().sum(dim=1).mean()


class Teacher(NamedTuple):
    """A trained network, frozen."""

    scores: Forward  # the class scores of a training step's inputs, without noise or gradient
    module: nn.Module | None = None  # whose layers can be looked into, in evaluation mode


class Distillation:
    """labels * (loss of the labels) + logits * kl + attention * (mean over the layers of the maps' distance).

    of_labels, forward: the loss and the network's call of a training step that has no teacher. layers: names of modules of both
    networks, from `layers`.
    """

    def __init__(
        self, config: TeacherConfig, of_labels: Loss, forward: Forward, student: nn.Module, teacher: Teacher, layers: Sequence[str]
    ) -> None:
        self.config, self.teacher, self.layers = config, teacher, layers
        self._of_labels, self._forward, self._student = of_labels, forward, student
        self._maps: dict[str, Tensor] = {}  # the student's, of the last call
        self._scores: Tensor | None = None  # the class scores of which `_taught` is
        self._taught: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's class scores. Its layers' maps are kept until the loss has been computed."""
        with _looking(self._student, self.layers) as self._maps:
            return self._forward(inputs)

    def loss(self, inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of what `forward` has given for the inputs. Asked again for other labels, as by mixup, the teacher rests."""
        if logits is not self._scores or self._taught is None:
            self._scores, self._taught = logits, self._matched(inputs, logits)
        if not self.config.labels:
            return self._taught
        return self.config.labels * self._of_labels(inputs, logits, labels) + self._taught

    @torch.no_grad()
    def shown(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The teacher's class scores and attention maps."""
        if self.teacher.module is None:
            return self.teacher.scores(inputs), {}
        with _looking(self.teacher.module, self.layers) as maps:
            return self.teacher.scores(inputs), maps

    def _matched(self, inputs: Tensor, logits: Tensor) -> Tensor:
        """What the loss has of the teacher."""
        scores, maps = self.shown(inputs)
        own, self._maps = self._maps, {}
        loss = self.config.logits * kl(logits, scores, self.config.temperature) if self.config.logits else logits.new_zeros(())
        if self.layers:
            distances = [attention(own[name], maps[name]) for name in self.layers]
            loss = loss + self.config.attention * torch.stack(distances).mean()
        return loss


@contextmanager
def _looking(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within, the attention map of each layer's output is noted down when it is called: the layers stay as they are."""
    maps: dict[str, Tensor] = {}

    def note(name: str, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        maps[name] = attention_map(output)

    with _hooked(model, {name: partial(note, name) for name in layers}):
        yield maps


@contextmanager
def _hooked(model: nn.Module, hooks: dict[str, Callable[..., None]]) -> Iterator[None]:
    handles = [model.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layers(config: TeacherConfig, student: nn.Module, teacher: nn.Module | None, image: Tensor) -> list[str]:
    """The modules whose outputs are matched: those of config.at, or all Residual ones. None where attention has no weight.

    image: (1, C, H, W), as a training step has it. Raises ConfigError for a name that is not one of both networks, or whose outputs
    have no height and width, or another one, with a few that would do.
    """
    if not config.attention:
        return []
    if teacher is None:
        remedy = "looks into a network's layers, and an exported file has class scores alone; give the run that it was made of"
        raise ConfigError("distill.attention", config.attention, remedy)
    own, theirs = _outputs(student, image), _outputs(teacher, image)
    would_do = [name for name in own if not _misfit(name, own, theirs)]
    binary = [name for name, module in student.named_modules() if isinstance(module, BinaryLayer)]
    would_do.sort(key=lambda name: name not in binary)  # the layers whose outputs are matched most often first
    if not would_do:
        remedy = "there is no layer of one name in both networks with outputs of the same height and width; use distill=logits"
        raise ConfigError("distill.attention", config.attention, remedy)
    shortcuts = [name for name, module in student.named_modules() if isinstance(module, Residual)]
    chosen = config.at or [name for name in shortcuts if not _is_one_place(own[name])]
    if not chosen:
        remedy = "is of every block with a shortcut, and the network has none; name layers"
        raise ConfigError("distill.attention", config.attention, f"{remedy}: distill.at=[{','.join(would_do[:2])}]")
    for name in chosen:
        if wrong := _misfit(name, own, theirs):
            near = [] if name in own else close(name, would_do)
            meant = f"did you mean {' or '.join(near)}?" if near else f"there are {listed(would_do)}"
            raise ConfigError("distill.at", config.at, f"{name} {wrong}; {meant}")
    return list(chosen)


def _misfit(name: str, own: dict[str, Tensor], theirs: dict[str, Tensor]) -> str:
    """Why a layer's outputs cannot be matched; "" where they can."""
    for outputs, whose in ((own, "the network"), (theirs, "the teacher")):
        if name not in outputs:
            return f"is no layer that {whose} calls"
        if _is_one_place(outputs[name]):
            return "has outputs of one place, so that their map is one number and says nothing"
    if own[name].shape[2:] != theirs[name].shape[2:]:
        here, there = ("x".join(map(str, outputs[name].shape[2:])) for outputs in (own, theirs))
        return f"has outputs of {here} in the network and {there} in the teacher"
    return ""


def _is_one_place(output: Tensor) -> bool:
    """Whether it has no height and width, or 1x1."""
    return output.ndim != 4 or output[0, 0].numel() == 1


@torch.no_grad()
def _outputs(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What each module gives that is called and gives a tensor, by name."""
    found: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            found[name] = output

    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with _hooked(model, {name: partial(note, name) for name, _ in model.named_modules() if name}):
            model(image)
    finally:
        for module in trained:
            module.training = True
    return found
