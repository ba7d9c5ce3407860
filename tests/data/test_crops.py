import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.config.data import DataConfig
from bnn_train.data import augment, crops

SIZE = st.integers(1, 12)


def random_pixels(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(SIZE, SIZE, st.data())
def test_a_part_is_resized_as_if_it_were_an_image(height, width, data):
    """Bilinearly, as torch resizes what has been cut out; half of 255 steps may be rounded either way."""
    images = random_pixels(3, 2, height, width)
    sizes = [(data.draw(st.integers(1, height)), data.draw(st.integers(1, width))) for _ in images]
    corners = [(data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w))) for h, w in sizes]
    parts = torch.tensor([[*corner, *size] for corner, size in zip(corners, sizes, strict=True)])
    for image, (row, column, h, w), found in zip(images, parts.tolist(), crops.resized(images, parts), strict=True):
        cut = image[None, :, row : row + h, column : column + w].float()
        expected = F.interpolate(cut, (height, width), mode="bilinear", align_corners=False)[0]
        assert (found.float() - expected).abs().max() <= 0.5 + 1e-3


def test_the_whole_image_stays_as_it_is():
    images = random_pixels(4, 3, 224, 31)
    assert torch.equal(crops.resized(images, torch.tensor([[0, 0, 224, 31]] * 4)), images)


def test_twice_as_large_by_hand():
    """Each new pixel lies a quarter from its old one: 3/4 of it and 1/4 of the neighbour, the edge's own beyond the edge."""
    images = torch.tensor([[[[0, 100, 7, 7]]]], dtype=torch.uint8)
    assert crops.resized(images, torch.tensor([[0, 0, 1, 2]])).flatten().tolist() == [0, 25, 75, 100]


def test_parts_have_the_areas_and_ratios_and_lie_within():
    parts = crops.draw(5000, 224, 224, torch.Generator().manual_seed(0))
    rows, columns, heights, widths = parts.T
    assert (parts[:, :2] >= 0).all()
    assert ((rows + heights <= 224) & (columns + widths <= 224)).all()
    area, ratio = (heights * widths).double() / 224**2, widths.double() / heights
    assert 0.07 < area.min() < 0.1
    assert 0.95 < area.max() <= 1
    assert 0.73 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.36
    small = area < 0.5  # these always fit: uniform in area, ratios above and below 1 alike
    assert area[small].mean().item() == pytest.approx((0.08 + 0.5) / 2, abs=0.01)
    assert (ratio[small] > 1).double().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("height", "width", "expected"), [(1, 100, [0, 49, 1, 1]), (100, 4, [47, 0, 5, 4]), (1, 1, [0, 0, 1, 1])])
def test_where_nothing_fits_the_largest_part_in_the_middle_is_taken(height, width, expected):
    parts = crops.draw(200, height, width, torch.Generator().manual_seed(0))
    assert (parts == torch.tensor(expected)).all(dim=1).any()
    assert ((parts[:, 2:] >= 1) & (parts[:, 2:] <= torch.tensor([height, width]))).all()
    assert (parts[:, :2] + parts[:, 2:] <= torch.tensor([height, width])).all()


def test_a_rank_s_part_of_a_batch_is_the_batch_s():
    config = DataConfig("x", crop="random_resized", flip=True, crop_padding=3)
    images = random_pixels(6, 3, 16, 16)
    draws, again = (augment.draw(config, 6, (3, 16, 16), torch.Generator().manual_seed(5), torch.device("cpu")) for _ in range(2))
    assert torch.equal(draws.crop, again.crop)
    whole = augment.augment(images, draws, config)
    assert whole.shape == images.shape
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        assert torch.equal(augment.augment(images[part], draws[part], config), whole[part])
