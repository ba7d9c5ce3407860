"""The loop: fit, train one epoch, evaluate. Knows no files, no signals and no terminal but the progress bar."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from tqdm import tqdm

from bnn_train.binary.edges import Edges
from bnn_train.binary.layers import binary_layers, constrain, is_stochastic, note_largest, sampling
from bnn_train.binary.ste import Ste
from bnn_train.config import Config
from bnn_train.data.batches import eval_batches, train_batches
from bnn_train.data.splits import Data, Split
from bnn_train.errors import ConfigError, Diverged
from bnn_train.optim import optimizers, schedules
from bnn_train.optim.optimizers import Together

LOOK_EVERY = 0.5  # seconds between looks at the losses: each one waits for the device

Row = dict[str, Any]  # one line of metrics.jsonl: what one epoch gave


class Trainer:
    """Trains `model` on `data` as `config` says.

    What changes during training is in the model, the optimizer, torch's random generators and the few attributes of `state_dict`;
    batches, learning rates and annealing follow from (seed, epoch, step). `after_step` is called after every step, with all of that
    consistent: whoever owns the run may save there, or raise to stop.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        optimizer: Optimizer | Together,
        edges: Edges,
        data: Data,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.model, self.optimizer, self.edges, self.data = config, model, optimizer, edges, data
        self.after_step = after_step
        self._forward = (
            torch.compile(model) if config.trainer.compile else model
        )  # of training steps; the model itself stays as it is
        self.steps = len(data.train) // config.trainer.batch_size  # in an epoch
        device = data.train.labels.device
        self.history: list[Row] = []  # one row per finished epoch
        self.step = 0  # finished steps of the current epoch
        self.losses = torch.zeros(self.steps, device=device)  # of the current epoch's steps
        self.correct = torch.zeros((), dtype=torch.int64, device=device)  # training images classified correctly in this epoch
        self.speeds: list[tuple[int, float]] = []  # (images, seconds) of the training steps that this object did of each epoch
        self._lr_share = schedules.build(config.scheduler, self.steps, config.trainer.epochs)
        self._binary_layers = binary_layers(model)
        self._annealed = [module for module in model.modules() if isinstance(module, Ste) and module.annealed]
        if config.trainer.compile and self._annealed:
            remedy = f"ste={self._annealed[0].name} changes with every step, so it cannot be compiled once; leave one of them out"
            raise ConfigError("trainer.compile", True, remedy)

    @property
    def epoch(self) -> int:
        """The number of finished epochs, which is the index of the current one."""
        return len(self.history)

    def fit(self) -> Iterator[Row]:
        """Trains and evaluates epoch by epoch, and yields each epoch's row."""
        while self.epoch < self.config.trainer.epochs:
            start, first = time.perf_counter(), self.step
            self.train_epoch()
            self.speeds.append(((self.step - first) * self.config.trainer.batch_size, time.perf_counter() - start))
            row: Row = {
                "epoch": self.epoch + 1,
                "lr": self.learning_rate(step=0),
                "train_loss": self.losses.double().mean().item(),
                "train_accuracy": self.correct.item() / (self.steps * self.config.trainer.batch_size),
            }
            penalty = self.edges.penalty()
            if penalty is not None:
                row["penalty"] = penalty.item()
            for name, split in (("val", self.data.val), ("test", self.data.test)):
                if split is not None:
                    row |= {f"{name}_{measure}": value for measure, value in evaluate(self.model, split, self.config).items()}
            self.check_finite()
            self.history.append(row)
            self.step = 0
            self.losses.zero_()
            self.correct.zero_()
            yield row

    def train_epoch(self) -> None:
        """The steps of the current epoch that are still to do."""
        trainer = self.config.trainer
        batches = train_batches(self.data.train, self.config.data, trainer.batch_size, self.config.seed, self.epoch, self.step)
        self.model.train()
        if self.step == 0:
            self.edges.start_epoch(self.epoch, self.optimizer)
        for layer in self._binary_layers:
            note_largest(layer, self.config.weights.clip)
        restore = moves_without_gradient(self.config) or not self.edges.within(self.config.weights.clip)
        with self._bar() as bar:
            looked = time.monotonic()
            for inputs, labels in batches:
                share = self._lr_share(self.epoch * self.steps + self.step)
                for group in self.optimizer.param_groups:
                    group.update({key: value * share for key, value in group["scheduled"].items()})
                for ste in self._annealed:
                    ste.progress = (self.epoch + self.step / self.steps) / trainer.epochs

                logits = self._forward(inputs)
                loss = F.cross_entropy(logits, labels, label_smoothing=trainer.label_smoothing)
                penalty = self.edges.penalty()
                self.optimizer.zero_grad()
                (loss if penalty is None else loss + penalty).backward()
                if trainer.clip_grad_norm is not None:
                    nn.utils.clip_grad_norm_(self.model.parameters(), trainer.clip_grad_norm)
                self.optimizer.step()
                for layer in self._binary_layers:
                    constrain(layer, share * self.config.optimizer.lr, self.config.weights.clip)
                if restore:
                    self.edges.restore()

                self.losses[self.step] = loss.detach()
                self.correct += (logits.argmax(dim=1) == labels).sum()
                self.step += 1
                bar.update(len(labels))
                if time.monotonic() - looked > LOOK_EVERY or self.step == self.steps:
                    self._look(bar)
                    looked = time.monotonic()
                self.after_step()

    def learning_rate(self, step: int) -> float:
        """For a step of the current epoch."""
        return self.config.optimizer.lr * self._lr_share(self.epoch * self.steps + step)

    def _bar(self) -> tqdm:
        """A bar over the current epoch's images with the time left; silent where there is no terminal."""
        size = self.config.trainer.batch_size
        description = f"epoch {self.epoch + 1}/{self.config.trainer.epochs}"
        done = self.step * size
        return tqdm(None, description, self.steps * size, initial=done, unit="img", unit_scale=True, disable=None, leave=False)

    def _look(self, bar: tqdm) -> None:
        """Shows loss and accuracy so far; raises Diverged with the first step whose loss is not finite."""
        losses = self.losses[: self.step]
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            step = int(bad[0])
            remedy = f"lower optimizer.lr={self.config.optimizer.lr:g} or set trainer.clip_grad_norm; what was saved stays"
            raise Diverged(f"the loss became {losses[step].item()} in epoch {self.epoch + 1}, step {step + 1}; {remedy}")
        if not bar.disable:
            seen = self.step * self.config.trainer.batch_size
            bar.set_postfix(loss=f"{losses.mean().item():.4f}", accuracy=f"{self.correct.item() / seen:.2%}")

    def check_finite(self) -> None:
        """Raises Diverged where a parameter or buffer is NaN or infinite.

        A sign hides a NaN in its input, so the loss alone does not tell. But every latent weight is a parameter, and every
        pre-activation leaves its mean and variance in a BatchNorm's buffers.
        """
        for name, tensor in self.model.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise Diverged(f"{name} holds NaN or infinity in epoch {self.epoch + 1}, after step {self.step}")

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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        optimizers.match_layout(self.optimizer)
        self.edges.load_state_dict(state.get("edges", {}))
        self.history = list(state["history"])
        self.step = state["step"]
        self.losses[: self.step] = state["losses"]
        self.correct.copy_(state["correct"])


def moves_without_gradient(config: Config) -> bool:
    """Whether a step can move a weight whose gradient has always been 0, other than by clipping it.

    Only the optimizers that are listed are known to leave it where it is, bit for bit, unless they decay it.
    """
    still = config.optimizer.name in ("adam", "adamw", "sgd", "bop") and config.optimizer.weight_decay == 0
    return not still or bool(config.weights.kl)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, config: Config) -> dict[str, float]:
    """Mean cross-entropy (`loss`) and `accuracy` in [0, 1] on a split, with running BatchNorm statistics and without noise.

    With eval.mode=ensemble also `ensemble_loss` and `ensemble_accuracy`: those of the mean of the probabilities that `eval.samples`
    networks drawn from the stochastic one predict; they leave torch's generators as they were. Without noise the two are the same.
    """
    model.eval()
    samples = (config.eval.samples or 0) if is_stochastic(model) else 0
    device = split.labels.device
    losses, correct = torch.zeros(2, device=device), torch.zeros(2, dtype=torch.int64, device=device)
    with torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=samples > 0):
        if samples:
            torch.manual_seed(config.seed)
        for inputs, labels in eval_batches(split, config.data, config.trainer.eval_batch_size):
            alone = together = F.log_softmax(model(inputs), dim=1)
            if samples:
                with sampling(model):
                    drawn = torch.stack([F.log_softmax(model(inputs), dim=1) for _ in range(samples)])
                together = drawn.logsumexp(dim=0) - math.log(samples)
            for i, log_probabilities in enumerate((alone, together)):
                losses[i] += F.nll_loss(log_probabilities, labels, reduction="sum")
                correct[i] += (log_probabilities.argmax(dim=1) == labels).sum()
    (loss, ensemble_loss), (accuracy, ensemble_accuracy) = (losses / len(split)).tolist(), (correct / len(split)).tolist()
    result = {"loss": loss, "accuracy": accuracy}
    if config.eval.mode == "ensemble":
        result |= {"ensemble_loss": ensemble_loss, "ensemble_accuracy": ensemble_accuracy}
    return result
