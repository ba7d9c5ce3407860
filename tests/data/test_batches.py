from itertools import chain

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.batches import eval_batches, train_batches
from bnn_train.data.splits import Split

PLAIN = DataConfig("x", mean=[0.0], std=[1.0])
SPLIT = Split(torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 1, 6, 6).contiguous(), torch.arange(20))


def labels(*args, **kwargs):
    return [batch.tolist() for _, batch in train_batches(SPLIT, PLAIN, *args, **kwargs)]


def test_an_epoch_visits_each_image_once_in_whole_batches():
    assert sorted(chain.from_iterable(labels(5, seed=0, epoch=0))) == list(range(20))
    assert [len(batch) for batch in labels(6, seed=0, epoch=0)] == [6, 6, 6]


def test_images_stay_with_their_labels():
    for inputs, batch in train_batches(SPLIT, PLAIN, 7, seed=3, epoch=1):
        assert (inputs[:, 0, 0, 0] * 255).round().tolist() == batch.tolist()


def test_order_is_a_function_of_seed_and_epoch():
    torch.manual_seed(1)
    first = labels(5, seed=0, epoch=3)
    torch.manual_seed(2)
    assert first == labels(5, seed=0, epoch=3)
    orders = [labels(20, seed=seed, epoch=epoch)[0] for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_starting_within_an_epoch_gives_its_remaining_batches():
    config = DataConfig("x", crop_padding=1, flip=True, cutout=2)
    everything = list(train_batches(SPLIT, config, 4, seed=7, epoch=2))
    rest = list(train_batches(SPLIT, config, 4, seed=7, epoch=2, first=3))
    assert len(rest) == 2
    for (x, y), (a, b) in zip(everything[3:], rest, strict=True):
        assert torch.equal(x, a)
        assert torch.equal(y, b)


def test_evaluation_sees_all_images_in_order():
    batches = list(eval_batches(SPLIT, PLAIN, 8))
    assert [len(y) for _, y in batches] == [8, 8, 4]
    assert torch.cat([y for _, y in batches]).tolist() == list(range(20))
