import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnn_train.data.splits import Split, held_out, hold_out, hold_out_test, limited, split_off
from bnn_train.errors import ConfigError


@given(st.lists(st.integers(0, 4), min_size=2, max_size=200), st.data())
def test_held_out_images_keep_the_classes_in_proportion(labels, data):
    size = data.draw(st.integers(1, len(labels) - 1))
    tensor = torch.tensor(labels)
    chosen = held_out("data.val_size", tensor, size)
    assert len(chosen.unique()) == len(chosen) == size
    for number in range(5):
        share = labels.count(number) * size / len(labels)
        assert abs((tensor[chosen] == number).sum().item() - share) < 1


def test_the_same_images_are_held_out_every_time():
    labels = torch.arange(100) % 3
    torch.manual_seed(1)
    first = held_out("k", labels, 10)
    torch.manual_seed(2)
    assert torch.equal(first, held_out("k", labels, 10))


def test_split_off_parts_without_loss():
    split = Split(torch.arange(5).view(5, 1, 1, 1).to(torch.uint8), torch.arange(5))
    rest, part = split_off(split, torch.tensor([1, 3]))
    assert (rest.labels.tolist(), part.labels.tolist()) == ([0, 2, 4], [1, 3])
    assert rest.images.flatten().tolist() == [0, 2, 4]
    assert len(part) == 2


@pytest.mark.parametrize("size", [4, 5, 100])
def test_more_than_there_is(size):
    with pytest.raises(ConfigError, match=f"data.val_size={size}: must be smaller than the 4 training images"):
        held_out("data.val_size", torch.zeros(4, dtype=torch.long), size)


def test_a_limit_takes_the_first_of_a_shuffle_that_is_the_same_in_every_run():
    split = Split(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50) % 5)
    some, more = limited(split, 10), limited(split, 20)
    assert torch.equal(some.images, limited(split, 10).images)
    assert len(some) == 10
    chosen = set(some.images.flatten().tolist())
    assert chosen < set(more.images.flatten().tolist())
    assert chosen != set(range(10))
    assert torch.equal(some.images.flatten().long() % 5, some.labels)
    assert limited(split, None) is limited(split, 50) is limited(split, 60) is split


def numbered(labels):
    count = len(labels)
    return Split(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1), torch.tensor(labels), [str(i) for i in range(count)])


def test_names_stay_with_their_images():
    rest, part = hold_out("data.val_size", 4, numbered([0, 1] * 10), 4, ["a", "b"])
    for split in (rest, part, limited(rest, 5)):
        assert [int(name) for name in split.names] == split.images.flatten().tolist()
    assert sorted([*rest.names, *part.names], key=int) == [str(i) for i in range(20)]
    assert torch.equal(part.images.flatten().long(), held_out("data.val_size", torch.tensor([0, 1] * 10), 4))


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (0.0002, "data.test_fraction=0.0002: takes none of 8 images"),
        (0.99, "data.test_fraction=0.99: must leave some of 8 images"),
        (0.8, "data.test_fraction=0.8: leaves no image to train on of rare"),
    ],
)
def test_a_share_that_cannot_be_the_test_set(fraction, message):
    with pytest.raises(ConfigError, match=message):
        hold_out_test(fraction, numbered([0] * 7 + [1]), ["often", "rare"])


def test_held_out_images_may_not_take_all_of_a_class():
    with pytest.raises(ConfigError, match=r"data\.val_size=3: leaves no image to train on of b, c"):
        hold_out("data.val_size", 3, numbered([0, 0, 1, 2]), 3, ["a", "b", "c", "never there"])
