from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnn_train.deploy import pictures, predict
from bnn_train.deploy.pictures import Failure, Wanted
from bnn_train.deploy.predict import Remarks
from bnn_train.errors import ConfigError

ONE_PIXEL = Wanted((1, 1, 1))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def grey(name, *values, kind=np.uint8):
    """A file with one row of pixels."""
    Image.fromarray(np.array([values], kind)).save(name)
    return name


def first_pixel(images):
    """Logits that say which image they are of: of class 0 its first pixel, of class 1 always 100."""
    return np.float32([[image[0, 0, 0], 100] for image in images])


def test_predictions_are_in_the_order_of_the_pictures_in_batches_and_failures_beside_them(monkeypatch):
    monkeypatch.setattr(predict, "BATCH", 2)
    given = [grey(f"{number}.png", value) for number, value in enumerate((10, 200, 99, 101))]
    given.insert(1, grey("float.tif", 255, kind=np.float32))
    given.insert(3, "broken.png")
    Path("broken.png").write_bytes(b"words")
    seen, remarks = [], Remarks()
    bar = lambda items: (seen.append(item) or item for item in items)  # noqa: E731
    batches = list(predict.predict(first_pixel, pictures.find(given).pictures, ONE_PIXEL, remarks, bar))
    assert [[one.file for one in batch] for batch in batches] == [["0.png", "float.tif"], ["1.png", "2.png"], ["3.png"]]
    assert [one.ranking for batch in batches for one in batch] == [[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]
    assert len(seen) == len(given)
    assert remarks.failures == [Failure("broken.png", "not a readable image (in no format that Pillow knows)")]
    assert (remarks.resized, remarks.made_grey, remarks.scaled, remarks.scale) == (0, 0, 1, (0, 255))


def test_a_batch_comes_before_the_next_picture_is_read(monkeypatch):
    monkeypatch.setattr(predict, "BATCH", 2)
    given = [grey(f"{number}.png", number) for number in range(5)]
    read = []
    bar = lambda items: (read.append(item) or item for item in items)  # noqa: E731
    batches = predict.predict(first_pixel, pictures.find(given).pictures, ONE_PIXEL, Remarks(), bar)
    assert [(len(batch), len(read)) for batch in batches] == [(2, 2), (2, 4), (1, 5)]


def test_changed_pictures_are_counted():
    given = [grey("small.png", 1), grey("wide.png", 1, 2, 3), grey("wider.png", 1, 2, 3, 4)]
    Image.new("RGB", (1, 1)).save("colour.png")
    remarks = Remarks()
    list(predict.predict(first_pixel, pictures.find([*given, "colour.png"]).pictures, ONE_PIXEL, remarks))
    assert (remarks.resized, remarks.made_grey, remarks.scaled) == (2, 1, 0)


def test_probabilities_and_ranking_by_hand():
    found = pictures.find([grey("x.png", 0)]).pictures

    def of(*logits):
        ((one,),) = predict.predict(lambda images: np.float32([logits]), found, ONE_PIXEL, Remarks())
        return one

    assert of(0, 0, 0, 0) == ("x.png", [0, 1, 2, 3], [0.25] * 4)  # of equals the first
    assert of(1000, -1000, 1000).probabilities == [0.5, 0, 0.5]
    assert of(0, np.log(3)).probabilities == pytest.approx([0.25, 0.75], rel=1e-7)
    assert of(16777216, 16777218).ranking == [1, 0]
    third = of(0, 0, 0).probabilities[0]
    assert (np.float32(third), str(third)) == (np.float32(1 / 3), "0.33333334")  # the digits of a float32, no more


def test_images_of_other_channels_are_refused_at_once():
    with pytest.raises(ConfigError, match=r"image_shape=\[4,2,2\]: pictures have 1 or 3 channels"):
        predict.predict(first_pixel, [], Wanted((4, 2, 2)), Remarks())
