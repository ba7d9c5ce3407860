"""How many training images the classes have, and weights that let each class count the same, `trainer.class_weights`."""

import torch
from torch import Tensor

from bnn_train.data.splits import Split

# The largest class over the smallest: above it a network that has learned little gains most by naming the frequent ones alone.
UNEVEN = 3


def counts(split: Split, classes: int) -> Tensor:
    """Images of each class, int64 (classes,)."""
    return torch.bincount(split.labels, minlength=classes)


def weights(split: Split, classes: int) -> Tensor:
    """n / (k n_c) for each class, float32 (classes,): n images in k classes, n_c of class c; 1 where there is none.

    Their mean over the images is 1, so that learning rates keep their meaning. As scikit-learn's class_weight="balanced".
    """
    there_are = counts(split, classes)
    present = there_are > 0
    return torch.where(present, len(split) / (present.sum() * there_are.clamp(min=1)), 1.0).float()


def uneven(split: Split, classes: list[str]) -> str:
    """A clause on the largest and the smallest class where one has more than UNEVEN times the images of the other, else "".

    Classes without a training image are told elsewhere (data/checks.py).
    """
    of_class = counts(split, len(classes)).tolist()
    present = [number for number, count in enumerate(of_class) if count]
    small, large = min(present, key=of_class.__getitem__), max(present, key=of_class.__getitem__)
    if of_class[large] <= UNEVEN * of_class[small]:
        return ""
    few = f"{of_class[small]:,} training image{'s' * (of_class[small] != 1)}"
    return f"the classes are uneven, {few} of {classes[small]} and {of_class[large]:,} of {classes[large]}"
