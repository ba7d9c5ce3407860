"""What a network gives on a split: loss, accuracy and class scores, without noise or as the mean of drawn networks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train import ranks
from bnn_train.binary.layers import is_stochastic, sampling, unchanged
from bnn_train.config.root import Config
from bnn_train.config.trainer import EnsembleConfig
from bnn_train.data.batches import eval_batches
from bnn_train.data.splits import Split


@torch.no_grad()
def evaluate(
    model: nn.Module, split: Split, config: Config, predicted: list[Tensor] | None = None, shared: bool = False
) -> dict[str, float]:
    """Mean cross-entropy (`loss`) and `accuracy` in [0, 1] on a split, with running BatchNorm statistics and without noise.

    With eval=ensemble also `ensemble_loss` and `ensemble_accuracy`: those of the mean of the probabilities that `eval.samples`
    networks drawn from the stochastic one predict; they leave torch's generators as they were. Without noise the two are the same.

    predicted: gets the class numbers of each batch, without noise. shared: every rank calls this, and takes some of the batches.
    """
    model.eval()
    ensemble = config.eval if isinstance(config.eval, EnsembleConfig) else None
    samples = ensemble.samples if ensemble is not None and is_stochastic(model) else 0
    device = split.labels.device
    batches = -(-len(split) // config.trainer.eval_batch_size)
    losses, correct = torch.zeros(batches, 2, device=device), torch.zeros(batches, 2, device=device)  # alone, ensemble
    own = ranks.count() if shared and not samples else 1  # drawn networks: every rank draws the same ones, and takes all batches
    with unchanged(model), torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=samples > 0):
        if samples:
            torch.manual_seed(config.seed)
        first = ranks.rank() if own > 1 else 0
        mine = eval_batches(split, config.data, config.trainer.eval_batch_size, first, own)
        for number, (inputs, labels) in zip(range(first, batches, own), mine, strict=True):
            logits = model(inputs)
            alone = together = F.log_softmax(logits, dim=1)
            if predicted is not None:
                predicted.append(logits.argmax(dim=1).cpu())
            if samples:
                with sampling(model):
                    drawn = torch.stack([F.log_softmax(model(inputs), dim=1) for _ in range(samples)])
                together = drawn.logsumexp(dim=0) - math.log(samples)
            for i, log_probabilities in enumerate((alone, together)):
                losses[number, i] = F.nll_loss(log_probabilities, labels, reduction="sum")
                correct[number, i] = (log_probabilities.argmax(dim=1) == labels).sum()
    if own > 1:
        losses, correct = ranks.total(losses, correct)  # a batch is one rank's, so that nothing is rounded
    loss, ensemble_loss = (losses.sum(dim=0) / len(split)).tolist()
    accuracy, ensemble_accuracy = (correct.sum(dim=0) / len(split)).tolist()
    result = {"loss": loss, "accuracy": accuracy}
    if ensemble is not None:
        result |= {"ensemble_loss": ensemble_loss, "ensemble_accuracy": ensemble_accuracy}
    return result


@torch.no_grad()
def class_scores(model: nn.Module, split: Split, config: Config) -> Tensor:
    """The logits (N, classes) of all images of a split, in order, on the CPU; those that `evaluate` measures without noise."""
    model.eval()
    batches = eval_batches(split, config.data, config.trainer.eval_batch_size)
    with unchanged(model):
        return torch.cat([model(inputs).float().cpu() for inputs, _ in batches])
