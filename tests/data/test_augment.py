import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.config.data import DataConfig
from bnn_train.data import augment


def numbered(n=4, c=2, h=5, w=6):
    return torch.arange(n * c * h * w).remainder(251).to(torch.uint8).view(n, c, h, w)


@settings(deadline=None)
@given(st.integers(1, 3), st.data())
def test_crop_cuts_each_image_at_its_own_corner(padding, data):
    images = numbered()
    corner = st.tuples(st.integers(0, 2 * padding), st.integers(0, 2 * padding))
    corners = torch.tensor(data.draw(st.lists(corner, min_size=4, max_size=4)))
    cropped = augment.crop(images, corners, padding)
    for image, (row, column), result in zip(images, corners.tolist(), cropped, strict=True):
        padded = torch.zeros(2, 5 + 2 * padding, 6 + 2 * padding, dtype=torch.uint8)
        padded[:, padding:-padding, padding:-padding] = image
        assert torch.equal(result, padded[:, row : row + 5, column : column + 6])


def test_crop_in_the_middle_changes_nothing():
    assert torch.equal(augment.crop(numbered(), torch.full((4, 2), 2), 2), numbered())


def test_flip_mirrors_the_chosen_images():
    images = numbered()
    flipped = augment.flip(images, torch.tensor([True, False, False, True]))
    assert torch.equal(flipped[1:3], images[1:3])
    assert torch.equal(flipped[[0, 3]], images[[0, 3]].flip(-1))


def test_cutout_blanks_a_square_that_may_reach_over_the_edge():
    ones = torch.ones(2, 1, 5, 5)
    result = augment.cutout(ones, torch.tensor([[2, 2], [0, 4]]), 3)
    inner, corner = torch.ones(5, 5), torch.ones(5, 5)
    inner[1:4, 1:4] = 0
    corner[:2, 3:] = 0
    assert torch.equal(result[:, 0], torch.stack([inner, corner]))


def test_normalise_is_per_channel():
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    result = augment.normalise(images, [0.5, 0.25, 0.0], [0.5, 0.5, 2.0]).flatten()
    torch.testing.assert_close(result, torch.tensor([-1.0, 1.5, 0.1]))
    assert augment.normalise(images, [0.5], [0.5]).flatten().tolist()[:2] == [-1, 1]


def test_draws_are_a_function_of_the_generator_and_stay_in_range():
    config = DataConfig("x", crop_padding=2, flip=True, cutout=3)
    first, again = (augment.draw(config, 500, (3, 8, 9), torch.Generator().manual_seed(5), torch.device("cpu")) for _ in range(2))
    assert torch.equal(first.crop, again.crop)
    assert torch.equal(first.flip, again.flip)
    assert torch.equal(first.cutout, again.cutout)
    assert (first.crop.min(), first.crop.max()) == (0, 4)
    assert first.cutout.amax(dim=0).tolist() == [7, 8]
    assert 0.4 < first.flip.float().mean() < 0.6


def test_nothing_is_drawn_for_what_is_off():
    draws = augment.draw(DataConfig("x"), 10, (1, 4, 4), torch.Generator(), torch.device("cpu"))
    assert (draws.crop, draws.flip, draws.cutout) == (None, None, None)
    images = numbered()
    assert torch.equal(augment.augment(images, draws, DataConfig("x")), augment.normalise(images, [0.5], [0.5]))


@pytest.mark.parametrize(("size", "padding"), [((8, 8), 1), ((32, 32), 4), ((64, 48), 6), ((3, 3), 0)])
def test_a_padding_that_is_not_given_follows_the_images_size(size, padding):
    config = DataConfig("x", crop_padding=None)
    assert augment.crop_padding(config, (3, *size)) == padding
    draws = augment.draw(config, 400, (1, *size), torch.Generator().manual_seed(0), torch.device("cpu"))
    assert (draws.crop is None) == (padding == 0)
    if padding:
        assert draws.crop.max() == 2 * padding
        images = torch.ones(400, 1, *size, dtype=torch.uint8)
        assert augment.augment(images, draws, config).shape == images.shape
