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
