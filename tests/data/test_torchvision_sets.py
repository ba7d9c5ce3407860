"""The readers on small files of the official formats, written here; torchvision's lists of checksums are set to theirs."""

import gzip
import hashlib
import pathlib
import pickle
import struct
import subprocess

import numpy as np
import pytest
import torch
import torchvision.datasets

from bnn_train.config.data import DataConfig
from bnn_train.data import datasets
from bnn_train.errors import ConfigError

CPU = torch.device("cpu")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(array):
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A folder with MNIST's four archives: 30 training and 10 test images."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random, resources = np.random.default_rng(0), []
    for part, count in (("train", 30), ("t10k", 10)):
        for kind, array in (("images-idx3", random.integers(0, 256, (count, 28, 28))), ("labels-idx1", np.arange(count) % 10)):
            archive = raw / f"{part}-{kind}-ubyte.gz"
            archive.write_bytes(gzip.compress(idx(array)))
            resources.append((archive.name, md5(archive)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody answers there
    return tmp_path


def load_mnist(root):
    return datasets.load(DataConfig("mnist", root=str(root)), CPU)


def test_mnist_is_unpacked_and_read(mnist):
    data = load_mnist(mnist)
    assert (data.train.images.shape, data.test.images.shape) == ((30, 1, 28, 28), (10, 1, 28, 28))
    assert data.train.labels.tolist() == [n % 10 for n in range(30)]
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28))
    assert np.array_equal(data.train.images[:, 0].numpy(), expected)
    assert torch.equal(load_mnist(mnist).train.images, data.train.images)  # now from the unpacked files


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_file_is_named(mnist, name, damage):
    load_mnist(mnist)
    path = mnist / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=rf"data\.root=.*{name} is damaged; delete it"):
        load_mnist(mnist)


def test_a_cut_file_without_its_archive_is_named(mnist):
    load_mnist(mnist)
    raw = mnist / "MNIST" / "raw"
    for archive in raw.glob("*.gz"):
        archive.unlink()
    load_mnist(mnist)
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte is damaged"):
        load_mnist(mnist)


@pytest.fixture
def own(mnist):
    """write("train-labels-idx1", array) puts a file of one's own in the place of an original; the archives are gone."""
    load_mnist(mnist)
    raw = mnist / "MNIST" / "raw"
    for archive in raw.glob("*.gz"):
        archive.unlink()

    def write(name, content):
        (raw / f"{name}-ubyte").write_bytes(content if isinstance(content, bytes) else idx(content))
        return mnist

    return write


def test_images_of_ones_own_in_mnists_files(own):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 28, 28))
    own("train-images-idx3", pixels)
    data = load_mnist(own("train-labels-idx1", np.arange(20) % 10))
    assert np.array_equal(data.train.images[:, 0].numpy(), pixels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-labels-idx1", np.arange(10), "train-images-idx3-ubyte holds 30 images, and .*train-labels-idx1-ubyte 10 labels"),
        (
            "t10k-images-idx3",
            np.zeros((9, 28, 28)),
            "t10k-images-idx3-ubyte holds 9 images, and .*t10k-labels-idx1-ubyte 10 labels",
        ),
        (
            "train-labels-idx1",
            np.arange(30) % 26 + 1,
            "train-labels-idx1-ubyte holds labels 1 to 26, and the classes .* are 0 to 9",
        ),
        ("t10k-labels-idx1", np.full(10, 10), "t10k-labels-idx1-ubyte holds labels 10 to 10"),
        ("train-images-idx3", b"", "train-images-idx3-ubyte is empty"),
        ("train-images-idx3", np.zeros((30, 32, 32)), "holds images of 32x32, and data=mnist has 28x28"),
        ("train-images-idx3", np.zeros(30), "train-images-idx3-ubyte is no file of images: it begins with 00000801, not 00000803"),
        ("train-labels-idx1", np.zeros((30, 28, 28)), "train-labels-idx1-ubyte is no file of labels: it begins with 00000803"),
        ("train-labels-idx1", bytes.fromhex("00000d01"), "is no file of labels: it begins with 00000d01"),
        ("train-labels-idx1", b"GIF8", "is no file of labels"),
        ("train-labels-idx1", idx(np.arange(30))[:6], "train-labels-idx1-ubyte is damaged"),
        ("train-labels-idx1", idx(np.arange(30)) + b"x", "train-labels-idx1-ubyte is damaged"),
        ("t10k-labels-idx1", np.zeros(0), "t10k-labels-idx1-ubyte holds no labels"),
    ],
)
def test_files_that_cannot_be_trained_with_are_named(own, name, content, message):
    with pytest.raises(ConfigError, match=rf"data\.root=.*{message}"):
        load_mnist(own(name, content))


def test_a_class_that_is_tested_and_not_trained(own):
    with pytest.raises(ConfigError, match=r"there are test images of 5 - five, 6 - six, 7 - seven and 2 more and none to train on"):
        load_mnist(own("train-labels-idx1", np.arange(30) % 5))


def test_an_archive_of_ones_own_says_what_is_read(mnist):
    archive = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    archive.write_bytes(gzip.compress(idx(np.zeros((30, 28, 28)))))
    with pytest.raises(ConfigError, match=r"where the images are your own, an unpacked train-images-idx3-ubyte alone is read"):
        load_mnist(mnist)


def test_a_file_that_may_not_be_read(mnist, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "read_bytes", forbidden)
    with pytest.raises(ConfigError, match=r"data\.root=.*train-images-idx3-ubyte\.gz cannot be read \(permission denied\)"):
        load_mnist(mnist)


def test_no_files_and_no_network(mnist, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root=.*looked for in .*empty/MNIST/raw.*data=digits needs no files"):
        load_mnist(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    reader = torchvision.datasets.CIFAR10
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    random = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch():
        return {"data": random.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": [n % 10 for n in range(20)]}

    monkeypatch.setattr(reader, "train_list", [write("data_batch_1", batch()), write("data_batch_2", batch())])
    monkeypatch.setattr(reader, "test_list", [write("test_batch", batch())])
    name, checksum = write("batches.meta", {"label_names": [f"class{n}" for n in range(10)]})
    monkeypatch.setattr(reader, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    monkeypatch.setattr(reader, "url", "http://127.0.0.1:9/cifar.tar.gz")
    return tmp_path


def load_cifar10(root):
    return datasets.load(DataConfig("cifar10", root=str(root), mean=[0.5] * 3, std=[0.25] * 3), CPU)


def test_cifar_is_read(cifar10):
    data = load_cifar10(cifar10)
    first = pickle.loads((cifar10 / "cifar-10-batches-py" / "data_batch_1").read_bytes())["data"]
    assert data.train.images.shape == (40, 3, 32, 32)
    assert np.array_equal(data.train.images[:20].numpy().reshape(20, 3072), first)
    assert data.classes[3] == "class3"
    assert data.train.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["data_batch_2", "batches.meta"])
def test_a_damaged_cifar_file_is_named(cifar10, name):
    with open(cifar10 / "cifar-10-batches-py" / name, "ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=f"{name} is damaged"):
        load_cifar10(cifar10)


def test_a_missing_cifar_file_without_a_network(cifar10):
    (cifar10 / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(ConfigError, match="could not be downloaded"):
        load_cifar10(cifar10)


@pytest.fixture
def misfit(tmp_path):
    """A folder with a torchvision that fails at import as one built for another torch does."""
    package = tmp_path / "misfit" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    return str(package.parent)


def test_torchvision_that_does_not_fit_torch(command, misfit):
    result: subprocess.CompletedProcess = command("data=mnist", PYTHONPATH=misfit)
    assert result.returncode == 2
    error = result.stderr.strip().splitlines()[-1]
    assert f"torch {torch.__version__.split('+')[0]}" in error
    assert "pip install --upgrade --force-reinstall torch torchvision" in error
    assert "torchvision::nms does not exist" in error
    result = command("model.hidden=[8,8]", "trainer.epochs=1", PYTHONPATH=misfit)
    assert result.returncode == 0, result.stderr
