"""Fixtures: a folder of pictures, and what image_folder makes of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train.config.data import DataConfig
from bnn_train.data import datasets


@pytest.fixture
def paint():
    """paint(path, seed, size) writes an image of (width, height) in random colours; returns its pixels (H, W, 3)."""

    def function(path, seed=0, size=(8, 6)):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return function


@pytest.fixture
def config(tmp_path):
    """config(root, key=value) for a folder in tmp_path, with a cache of its own."""

    def function(root="pictures", **values):
        return DataConfig("image_folder", root=str(tmp_path / root), **{"cache_dir": str(tmp_path / "cache"), **values})

    return function


@pytest.fixture
def load(config):
    return lambda root="pictures", **values: datasets.load(config(root, **values), torch.device("cpu"))


@pytest.fixture
def pictures(tmp_path, paint):
    """Two classes of ten images, all different."""
    for number, name in enumerate(("cat", "dog")):
        for i in range(10):
            paint(tmp_path / "pictures" / name / f"{i}.png", seed=100 * number + i)
    return tmp_path / "pictures"


@pytest.fixture
def said(caplog):
    """said() is what was logged since it was asked last."""
    caplog.set_level("INFO", "bnn_train.data")

    def function():
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    return function
