"""The test images that a network is surest of and wrong about, kept beside its scores: a report then needs no data."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bnn_train.data.splits import Images

MOST = 24  # images: at 64x64 in colour 0.3 MB before compression
LARGEST = 64  # pixels of the longer side


def surest(scores: Tensor, labels: Tensor, images: Images) -> tuple[Tensor, Tensor]:
    """(images, uint8 (k, C, H, W), their places in the test set, int64 (k,)), the surest first, k at most MOST.

    scores: (N, classes), of which softmax gives probabilities; sure is a network as far as its largest one. labels: (N,).
    Larger images are made smaller, their shape kept.
    """
    scores, labels = scores.detach().cpu(), labels.cpu()
    probability = scores.double().softmax(dim=1).nan_to_num(0.0).amax(dim=1)
    guess = scores.nan_to_num(float("-inf")).argmax(dim=1)
    wrong = (guess != labels).nonzero().flatten()
    chosen = wrong[probability[wrong].argsort(descending=True, stable=True)][:MOST]
    return _small(images[chosen.to(images.device)].cpu()), chosen


def _small(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    if max(height, width) <= LARGEST or not len(images):
        return images
    size = [max(1, round(side * LARGEST / max(height, width))) for side in (height, width)]
    return interpolate(images.float(), size, mode="area").round().to(torch.uint8)
