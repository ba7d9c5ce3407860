import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import bnn_train
from bnn_train.data.augment import normalise


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    from bnn_train.deploy.export import export_run

    file = tmp_path_factory.mktemp("exported") / "m.bnn"
    export_run(run.directory, file)
    return file


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)


def test_a_run_a_checkpoint_and_a_file_are_one_kind_of_object(run, exported, images, compose):
    networks = [bnn_train.load(path) for path in (run.directory, run.directory / "checkpoints" / "last.pt", exported)]
    data = compose().data
    with torch.no_grad():
        scores = networks[0].module(normalise(torch.from_numpy(images), data.mean, data.std)).numpy()
    for network in networks:
        np.testing.assert_allclose(network.logits(images), scores, atol=1e-4)
        assert np.array_equal(network.predict(images), scores.argmax(axis=1))
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(network.probabilities(images), shares / shares.sum(axis=1, keepdims=True), atol=1e-5)
        assert network.classes == [str(i) for i in range(10)]
        assert network.image_shape == (1, 8, 8)
        assert network.evaluate()["test_accuracy"] == run.summary["test_accuracy"]
    assert networks[2].module is None


def test_binary_weights_are_the_signs_of_the_latent_ones(run, exported):
    latent = torch.load(run.directory / "checkpoints" / "result.pt", weights_only=True)["model"]
    for network in (bnn_train.load(run.directory), bnn_train.load(exported)):
        found = network.binary_weights()
        assert list(found) == ["linear1", "linear2"]
        for name, signs in found.items():
            assert signs.dtype == np.int8
            assert np.array_equal(signs, np.where(latent[f"{name}.weight"].numpy() >= 0, 1, -1))


def test_images_of_every_kind(run, images, tmp_path):
    """Files, their bytes, PIL images, one or several, and arrays and tensors of any layout give the same scores."""
    network, pictures = run.network(), [Image.fromarray(image[0]) for image in images]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(5)]
    scores = network.logits(images)
    for given in (pictures, files, [str(file) for file in files], [file.read_bytes() for file in files], torch.from_numpy(images)):
        assert np.array_equal(network.logits(given), scores)
    assert np.array_equal(network.logits(images.transpose(0, 2, 3, 1), layout="nhwc"), scores)
    for one in (files[2], pictures[2], images[2]):  # torch adds the products of one image in another order
        np.testing.assert_allclose(network.logits(one), scores[2:3], atol=1e-6)
    assert network.logits(images[:0]).shape == (0, 10)


def test_what_is_no_image_is_refused(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(bnn_train.ConfigError, match=r"images=.*x\.png: not a readable image"):
        run.network().predict([tmp_path / "x.png"])
    with pytest.raises(bnn_train.ConfigError, match="images=shape"):
        run.network().predict(np.zeros((2, 3, 8, 8), np.uint8))
    with pytest.raises(bnn_train.ConfigError, match="path="):
        bnn_train.load(tmp_path / "x.png")


def test_an_exported_file_is_loaded_without_torch(exported):
    line = f"import bnn_train, sys; bnn_train.load({str(exported)!r}).binary_weights(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_loading_leaves_torchs_generator_as_it_was(run):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    bnn_train.load(run.directory).evaluate()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_picture_in_memory_is_its_file(run, tmp_path):
    """Also one that a tag turns, of a lossy format, of modes that no file has; what PIL has opened stays open."""
    colours = Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 12, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[274] = 6
    colours.save(tmp_path / "turned.tif", exif=turned)
    colours.save(tmp_path / "lossy.tif", compression="jpeg")
    network = run.network()
    for name in ("turned.tif", "lossy.tif"):
        expected = network.logits(tmp_path / name)
        with Image.open(tmp_path / name) as picture:
            for _ in range(2):
                assert np.array_equal(network.logits(picture), expected), name
    for mode in ("HSV", "La", "P", "RGBa", "PA"):
        picture = colours.convert("LA").convert(mode) if mode == "La" else Image.new(mode, (8, 8))
        assert network.logits(picture).shape == (1, 10), mode


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (lambda: [np.zeros((1, 8, 8), np.uint8), "a.png"], "images=a list of 2: holds arrays and image files"),
        (lambda: [np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 9), np.uint8)], r"images=shapes \(1, 8, 8\) and \(1, 8, 9\): arr"),
        (lambda: torch.zeros(1, 1, 8, 8, requires_grad=True), "images=type float32: must be uint8"),
        (lambda: Image.new("L", (0, 0)), r"images=\[0\]: not a readable image \(it has no pixels\)"),
        (lambda: _closed(), r"images=\[0\]: not a readable image \(.*closed"),
    ],
)
def test_what_cannot_be_taken_is_said_of_it(run, given, line):
    with pytest.raises(bnn_train.ConfigError, match=line):
        run.network().predict(given())


def _closed():
    picture = Image.new("L", (8, 8))
    picture.close()
    return picture


def test_nothing_of_nothing_is_predicted(run):
    assert run.network().predict([]).shape == (0,)


def test_a_network_is_copied_and_pickled(run, exported, images):
    for network in (run.network(), bnn_train.load(exported)):
        for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            assert np.array_equal(again.logits(images), network.logits(images))


def test_scores_are_those_of_evaluation_whatever_torch_is_set_to(run, images):
    """Of one image BatchNorm has no statistics in training; the module is left as it was found."""
    network = run.network()
    expected = network.logits(images[:1])
    network.module.train()
    assert np.array_equal(network.logits(images[:1]), expected)
    assert network.module.training
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert np.array_equal(bnn_train.load(run).logits(images[:1]), expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_only_a_stochastic_network_is_drawn_from(run, exported):
    found = run.network().evaluate(samples=3)
    assert found["stochastic"] is False
    assert "test_ensemble_accuracy" not in found
    with pytest.raises(bnn_train.ConfigError, match=r"samples=3: an exported network draws none"):
        bnn_train.load(exported).evaluate(samples=3)


def test_a_network_and_a_run_stay_where_they_are_when_the_program_goes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.directory.parent)
    there = bnn_train.Run(type(run.directory)(run.directory.name), run.summary)
    network = bnn_train.load(there.directory)
    monkeypatch.chdir(tmp_path)
    assert there.history == run.history
    assert there.network().evaluate()["test_accuracy"] == network.evaluate()["test_accuracy"] == run.summary["test_accuracy"]
    with pytest.raises(bnn_train.ConfigError, match=r"directory=nowhere: holds no metrics\.jsonl any more"):
        bnn_train.Run(type(run.directory)("nowhere"), run.summary).history  # noqa: B018
    assert bnn_train.Run(type(run.directory)("nowhere"), {}).history == []  # of a dry run
