import pytest
import torch

from bnn_train.data import balance
from bnn_train.data.splits import Split


def split(*counts):
    labels = torch.tensor([number for number, count in enumerate(counts) for _ in range(count)])
    return Split(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((6, 2, 4), ""),
        ((7, 2, 4), "the classes are uneven, 2 training images of b and 7 of a"),
        ((1, 5), "the classes are uneven, 1 training image of a and 5 of b"),
        ((3, 0, 9), ""),  # a class without images has lines of its own
        ((1000, 400, 300), "the classes are uneven, 300 training images of c and 1,000 of a"),
    ],
)
def test_classes_are_uneven_beyond_a_factor_of_three(counts, said):
    assert balance.uneven(split(*counts), ["a", "b", "c"][: len(counts)]) == said
