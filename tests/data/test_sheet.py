"""The contact sheet shows the pixels that training computes with."""

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train.cli import report
from bnn_train.config.data import DataConfig
from bnn_train.data import augment, sheet
from bnn_train.data.splits import Data, Split

PLAIN = {"crop_padding": 0, "flip": False}


def data_of(counts, shape=(3, 4, 6)):
    labels = torch.tensor([number for number, count in enumerate(counts) for _ in range(count)])
    images = torch.randint(256, (len(labels), *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(images, labels)
    return Data(split, None, split, [f"class {i}" for i in range(len(counts))])


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.25]), ([0.1307], [0.3081]), ([0.0], [1.0]), ([0.9], [10.0])])
def test_every_pixel_comes_back_from_normalising(mean, std):
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(augment.pixels(augment.normalise(images, mean, std), mean, std), images)


def test_without_augmentation_all_columns_are_the_same_image():
    found = sheet.shown(data_of([5, 1, 7]), DataConfig("digits", **PLAIN), seed=0)
    assert found.classes == ["class 0"] * 4 + ["class 1"] + ["class 2"] * 4
    assert all(torch.equal(each, found.seen) for each in found.draws)


def test_the_changes_are_those_of_training():
    data, config = data_of([4, 4]), DataConfig("digits", crop_padding=1, flip=True, cutout=2)
    found = sheet.shown(data, config, seed=3)
    draw = augment.draw(config, 8, (3, 4, 6), torch.Generator().manual_seed(3), torch.device("cpu"))
    assert torch.equal(found.draws[0], augment.pixels(augment.augment(found.seen, draw, config), config.mean, config.std))
    assert not any(torch.equal(found.draws[0], each) for each in found.draws[1:])
    mixed = sheet.shown(data, DataConfig("digits", **PLAIN, mixup=1.0), seed=3)
    assert not torch.equal(mixed.draws[0], mixed.seen)


@pytest.mark.parametrize(("counts", "rows"), [([9, 9], 8), ([9] * 10, 20), ([9] * 24, 24), ([9] * 30, 24), ([9, 0, 2], 6)])
def test_some_images_of_each_class_and_not_too_many(counts, rows):
    chosen = sheet.choose(data_of(counts).train, len(counts))
    assert len(chosen) == rows
    assert len(set(chosen.tolist())) == rows


def test_a_cell_holds_an_image_s_own_pixels():
    data = data_of([1, 1], (1, 64, 32))
    page, count = sheet.sheet(data, DataConfig("digits", **PLAIN), seed=0)
    assert count == 2
    pixels = np.asarray(page.convert("L"))
    doubled = data.train.images[0, 0].numpy().repeat(2, 0).repeat(2, 1)
    places = np.lib.stride_tricks.sliding_window_view(pixels, (1, 64))[:, :, 0]
    top, left = (int(each[0]) for each in np.nonzero((places == doubled[0]).all(axis=2)))
    assert np.array_equal(pixels[top : top + 128, left : left + 64], doubled)


def test_the_command_writes_a_png_of_overrides(monkeypatch, tmp_path, pictures, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["data=image_folder", "data.root=pictures", "data.image_size=[8,12]", "data.fit=pad", "data.cache_dir=cache"]
    monkeypatch.setattr("sys.argv", ["bnn-report", "--data", *given])
    report.main()
    assert capsys.readouterr().out == "8 of 16 training images, 2 classes: saved as sheet.png\n"
    with Image.open("sheet.png") as image:
        assert image.format == "PNG"
        assert image.width > 6 * 120  # the file, what is seen, and four draws
        grey = np.asarray(image.convert("RGB")) == 128
    assert grey.all(axis=2).sum() > 1000  # what pads


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "data=digits", "--output", "x.jpg"], "--output=x.jpg: must end in .png"),
        (["--data", "data.flip=maybe"], "data.flip=maybe: must be true or false"),
        (["--data", "nowhere"], "--data=nowhere: there is no such file"),
        (["--data", "run", "data.flip=true"], "--data=run: takes overrides such as"),
        (["one", "--output", "x.png"], "--output=x.png: is for --data"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bnn-report", *arguments])
    with pytest.raises(SystemExit):
        report.main()
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert list(tmp_path.iterdir()) == []
