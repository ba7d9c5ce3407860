"""The loop: fit, train an epoch, measure. Knows no files, no signals and no terminal but the progress bar."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from bnn_train import ranks
from bnn_train.binary.layers import annealed, constrained_layers
from bnn_train.config.root import Config
from bnn_train.data import balance, mixup
from bnn_train.data.batches import train_batches
from bnn_train.data.splits import Data
from bnn_train.edges.apply import Edges
from bnn_train.errors import ConfigError
from bnn_train.models import norm
from bnn_train.optim import fused, optimizers, schedules
from bnn_train.training import average, bar, losses, processes
from bnn_train.training.checks import check_finite, check_losses
from bnn_train.training.evaluation import evaluate
from bnn_train.training.health import Health
from bnn_train.training.recalibration import batches
from bnn_train.training.selection import AVERAGED, is_out_of_patience

LOOK_EVERY = 0.5  # seconds between looks at the losses: each one waits for the device

Row = dict[str, Any]  # one line of metrics.jsonl: what one epoch gave


class Trainer:
    """Trains `model` on `data` as `config` says.

    What changes during training is in the model, the optimizer, the masks of the edges, torch's random generators and the few
    attributes of `state_dict`; batches, learning rates and annealing follow from (seed, epoch, step). `after_step` is called
    with the trainer after every step, with all of that consistent: whoever owns the run may save there, or raise to stop.
    `forward` and `loss` are what a training step calls; before it starts they may be exchanged for others, which hold no state.
    `choice` says who takes the optimizer's step: by the rule of optim/choice.py, or as the run was started whose state is loaded.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        edges: Edges,
        optimizer: Optimizer,
        data: Data,
        after_step: "Callable[[Trainer], None]" = lambda trainer: None,
    ) -> None:
        self.config, self.model, self.edges, self.optimizer, self.data = config, model, edges, optimizer, data
        self.after_step = after_step
        is_balanced = config.trainer.class_weights == "balanced"
        self.loss = losses.build(config, balance.weights(data.train, len(data.classes)) if is_balanced else None)
        self.steps = len(data.train) // config.trainer.batch_size  # in an epoch
        device = data.train.labels.device
        self.history: list[Row] = []  # one row per finished epoch
        self.step = 0  # finished steps of the current epoch
        self.losses = torch.zeros(self.steps, device=device)  # of the current epoch's steps
        self.correct = torch.zeros((), dtype=torch.int64, device=device)  # training images classified correctly in this epoch
        self.health = Health(model, edges)
        self.average = None if config.trainer.ema is None else average.Average(model, edges, config.trainer.ema)
        self.speed = (0, 0.0)  # (images, seconds) of the training steps that this object did of the current epoch
        self.waited: float | None = None  # seconds of these in which images were waited for; None: they are in memory
        self._lr_share = schedules.build(config.scheduler, self.steps, config.trainer.epochs)
        self._annealed = annealed(model)
        self._part = ranks.part(config.trainer.batch_size) if ranks.count() > 1 else slice(None)
        if ranks.count() > 1 and config.trainer.sync_batchnorm:
            norm.over_ranks(model)
        self.forward = _compiled(model, self._annealed) if config.trainer.compile else model
        self._choose()

    @property
    def epoch(self) -> int:
        """The number of finished epochs, which is the index of the current one."""
        return len(self.history)

    @property
    def number(self) -> int:
        """The number of finished steps of the whole run."""
        return self.epoch * self.steps + self.step

    @property
    def is_finished(self) -> bool:
        most = self.config.trainer.max_steps
        if self.epoch >= self.config.trainer.epochs or (most is not None and self.number >= most):
            return True
        return self.step == 0 and is_out_of_patience(self.history, self.config, self.steps)

    def fit(self) -> Iterator[Row]:
        """Trains and measures epoch by epoch, and yields each epoch's row; at last that of an epoch within which the run ends."""
        while self.step == self.steps or not self.is_finished:
            if self.step < self.steps:
                self.train_epoch()
            if self.step == self.steps:
                row = self.measure()
                if ranks.count() > 1:
                    processes.check_equal(self.model, row["epoch"])
                self.history.append(row)
                self.health.end_epoch()
                self.step = 0
                self.losses.zero_()
                self.correct.zero_()
                yield row
        if self.step:
            yield self.measure()

    def train_epoch(self) -> None:
        """The steps of the current epoch that are still to do."""
        config, start, first, waited = self.config, time.perf_counter(), self.step, self.data.train.waited
        mixes = self._mixes()
        part = slice(None) if mixes else self._part  # an image may be mixed with one of another rank's part
        epoch = train_batches(self.data.train, config.data, config.trainer.batch_size, config.seed, self.epoch, self.step, part)
        self.model.train()
        if self.step == 0:
            self.edges.start_epoch(self.epoch, self.optimizer)
        moves = self._fused is None and optimizers.moves_without_gradient(self.optimizer)
        restore = moves or (bool(self._to_constrain) and not self.edges.are_within_bounds())
        with bar.start(self.epoch, config.trainer, self.steps, self.step) as shown:
            looked = time.monotonic()
            for inputs, labels in epoch:
                self.train_step(inputs, labels, restore, mixes[self.step] if mixes else None)
                shown.update(config.trainer.batch_size)
                ends = self.step == self.steps or self.is_finished
                if time.monotonic() - looked > LOOK_EVERY or ends:
                    self._look(shown)
                    looked = time.monotonic()
                if ends:
                    self.edges.zero_gradients()
                    self.health.note()
                self.speed = ((self.step - first) * config.trainer.batch_size, time.perf_counter() - start)
                self.after_step(self)
                if ends:
                    break
        self.waited = None if waited is None else (self.data.train.waited or 0.0) - waited

    def train_step(self, inputs: Tensor, labels: Tensor, restore: bool, mix: mixup.Mix | None = None) -> None:
        """One step: forward, backward, optimizer, and what keeps latent weights within their bounds.

        restore: whether the step may have moved weights that the edges' rules hold. mix: how images of the batch are mixed.
        """
        config = self.config
        share = self._lr_share(self.number)
        for group in self.optimizer.param_groups:
            group.update({key: value * share for key, value in group["scheduled"].items()})
        self._anneal(self.step)
        with ranks.sharing(config.trainer.batch_size):
            if mix is None:
                logits = self.forward(inputs)
                loss = self.loss(inputs, logits, labels)
            else:
                mixed = mix.inputs(inputs, self._part)
                logits = self.forward(mixed)
                loss = mix.loss(lambda of: self.loss(mixed, logits, of), labels, self._part)
                labels = labels[self._part]
            if ranks.count() > 1:
                loss = loss * (len(labels) / config.trainer.batch_size)  # its share of the global batch's mean
            penalty = self.edges.penalty() if ranks.rank() == 0 else None
            self.optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
        hits = (logits.argmax(dim=1) == labels).sum()
        if ranks.count() > 1:
            loss, hits = processes.summed(self.model, loss, hits, not config.trainer.sync_batchnorm)
        if config.trainer.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.trainer.clip_grad_norm)
        (self._fused or self.optimizer.step)()
        for layer in self._to_constrain:
            layer.constrain(share * config.optimizer.lr)
        if restore:
            self.edges.restore()
        if self.average is not None:
            self.average.update()

        self.losses[self.step] = loss.detach()
        self.correct += hits
        self.step += 1

    def _choose(self, started: str | None = None) -> None:
        """Who takes the steps. started: who has taken the first one of a run that is continued."""
        settled = fused.settle(self.config, self.model, self.optimizer, self.steps, self.edges.marks, started)
        self.choice, self._fused = settled
        self._to_constrain = constrained_layers(self.model) if self._fused is None else self._fused.rest
        self.edges.in_step = self._fused is not None and self.config.trainer.clip_grad_norm is None  # a norm sees no held edge

    def _mixes(self) -> list[mixup.Mix] | None:
        """How the batches of the current epoch are mixed."""
        config = self.config
        if not config.data.mixup:
            return None
        device = self.data.train.labels.device
        return mixup.draw(config.data.mixup, self.steps, config.trainer.batch_size, config.seed, self.epoch, device)

    def _anneal(self, step: int) -> None:
        """Tells what follows the progress of training that it is at a step (from 0) of the current epoch."""
        for module in self._annealed:
            module.progress = (self.epoch + step / self.steps) / self.config.trainer.epochs  # type: ignore[assignment]

    def measure(self) -> Row:
        """The row of the current epoch, as far as it is done: running figures of training, and those of every other split.

        `health.row` is then of the same epoch.
        """
        row: Row = {
            "epoch": self.epoch + 1,
            "lr": self.learning_rate(step=0),
            "train_loss": self.losses[: self.step].double().mean().item(),
            "train_accuracy": self.correct.item() / (self.step * self.config.trainer.batch_size),
        }
        if self.step < self.steps:
            row["steps"] = self.step
        self._anneal(self.step - 1)  # as the last step has left it; but a run that is continued here did not do that step
        penalty = self.edges.penalty()
        if penalty is not None:
            row["penalty"] = penalty.item()
        with self.health.watching():
            row |= self.evaluated(shared=True)
        if self.average is not None:
            with self.average.in_place(batches(self.data.train, self.config, self.epoch, average.BATCHES)):
                row |= {f"{AVERAGED}{name}": value for name, value in self.evaluated(shared=True).items()}
        self.check_finite()
        self.health.measure(row["epoch"], row.get("steps"))
        return row

    def evaluated(self, shared: bool = False) -> Row:
        """Figures of the model as it is: val_loss, val_accuracy (where images are held out), test_loss and so on.

        shared: as in `evaluate`.
        """
        splits = {"val": self.data.val, "test": self.data.test}
        found = {
            name: evaluate(self.model, split, self.config, shared=shared) for name, split in splits.items() if split is not None
        }
        return {f"{name}_{measure}": value for name, figures in found.items() for measure, value in figures.items()}

    def learning_rate(self, step: int) -> float:
        """For a step of the current epoch."""
        return self.config.optimizer.lr * self._lr_share(self.epoch * self.steps + step)

    def check_finite(self) -> None:
        check_finite(self.model, self.epoch + 1, self.step)

    def _look(self, shown: tqdm) -> None:
        """Shows loss and accuracy so far; raises Diverged where a loss is not finite."""
        so_far = self.losses[: self.step]
        check_losses(so_far, self.epoch + 1, self.config.optimizer.lr)
        if not shown.disable:
            seen = self.step * self.config.trainer.batch_size
            bar.show(shown, self.epoch, self.config.trainer, (so_far.mean().item(), self.correct.item() / seen))

    def state_dict(self) -> dict[str, Any]:
        """All that training has changed, random states apart, as plain types and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "edges": self.edges.state_dict(),
            "history": self.history,
            "step": self.step,
            "losses": self.losses[: self.step].clone(),
            "correct": self.correct,
            "health": self.health.state_dict(),
            "optimizer_step": self.choice.kind,
            **({} if self.average is None else {"average": self.average.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._choose(started(state))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        optimizers.match_layout(self.optimizer)
        self.edges.load_state_dict(state.get("edges", {}))
        self.history = list(state["history"])
        self.step = state["step"]
        self.losses[: self.step] = state["losses"]
        self.correct.copy_(state["correct"])
        self.health.load_state_dict(state.get("health"))
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def started(state: Mapping[str, Any]) -> str:
    """Who has taken the first step of a trainer's saved state; before anybody else could it was torch."""
    kind = str(state.get("optimizer_step", "torch"))
    return "kernels" if kind == "numba" else kind  # which took them before, with the same bits


def _compiled(model: nn.Module, annealed_modules: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """The compiled forward of training steps; the model itself stays as it is."""
    if annealed_modules:
        remedy = f"{annealed_modules[0].setting} changes with every step, so it cannot be compiled once; leave one of them out"
        raise ConfigError("trainer.compile", True, remedy)
    return torch.compile(model)
