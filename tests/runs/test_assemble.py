import torch
from PIL import Image

import pytest  # isort: skip

from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.runs.assemble import assemble, check

CPU = torch.device("cpu")


def test_the_assembly_is_a_function_of_the_configuration(small):
    config = small("seed=3", "optimizer=bop")
    data = datasets.load(config.data, CPU)
    first = assemble(config, data, CPU)
    torch.manual_seed(99)
    torch.set_default_dtype(torch.float64)
    second = assemble(config, data, CPU)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    assert [len(group["params"]) for group in first.optimizer.param_groups] == [2, 1, 5]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=cnn", "model.kernel_size=99"], "model.kernel_size=99: is larger than the images, 16x16"),
        (["model=cnn", "model.stages=[[4],[4],[4],[4],[4]]"], "model.stages="),
        (["model.hidden=[8]"], "model.hidden=[8]: the last layer's inputs are real"),
        (["data.cutout=17"], "data.cutout=17: is larger than the images, 16x16"),
        (["edges.rules=[{layers: hidden9, what: freeze}]"], "edges.rules.layers=hidden9: matches no layer"),
        (["optimizer=bop", "edges.rules=[{layers: linear1, what: l1, strength: 0.1}]"], "edges.rules.what=l1"),
        (["init_from=nowhere"], "init_from=nowhere: there is no such file"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_image_is_decoded(small, tmp_path, monkeypatch, overrides, message):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (20, 30), (i, 0, 0)).save(tmp_path / name / f"{i}.png")
    monkeypatch.setattr("bnn_train.data.decode.decode", None)  # decoding would fail
    config = small("data=image_folder", f"data.root={tmp_path}", "data.image_size=16", *overrides)
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert str(caught.value).startswith(message)
    check(small("data=image_folder", f"data.root={tmp_path}", "data.image_size=16"))


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1, 8, 8), 10),
        *((name, (1, 28, 28), 10) for name in ("mnist", "fashion_mnist", "kmnist")),
        ("cifar10", (3, 32, 32), 10),
        ("cifar100", (3, 32, 32), 100),
    ],
)
def test_shapes_are_known_without_files(small, name, shape, classes):
    assert datasets.peek(small(f"data={name}").data) == (shape, classes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("[3000000,3000000]", "has 9,0.* parameters, which take .* in training, of .* there are"),
        ("[9999999999,9999999999]", "there is not enough memory"),
    ],
)
def test_a_network_that_cannot_be_in_memory_is_refused_before_it_is_made(small, sizes, message):
    with pytest.raises(ConfigError, match=f"model=mlp: .*{message}.*; choose a smaller one"):
        check(small(f"model.hidden={sizes}"))
