"""Every network of the product, packed: torch, the reference and the runner's steps agree."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryLayer, BinaryLinear, binary_layers
from bnn_train.deploy import reference
from bnn_train.deploy.plan import plan
from bnn_train.deploy.runner import Network
from bnn_train.edges.apply import weighted_layers

SMALL = {
    "mlp": ("model=mlp", "model.hidden=[20,20]"),
    "cnn": ("model=cnn", "model.stages=[[12,12],[9]]", "model.hidden=[20]"),
    "resnet20": ("model=resnet20",),
}


@pytest.fixture
def build(compose, random_statistics):
    """build("cnn", "weights=real", shape=..., model={...}, weights={...}): values are set by hand, since Hydra is slow."""

    def function(name, *overrides, shape=(1, 8, 8), shortcut=False, ste=None, seed=0, **values):
        config = compose(*SMALL[name], *overrides)
        config.block.shortcut = "per_conv" if shortcut else "none"
        if ste is not None:
            config.ste.name = ste
        for part, settings in values.items():
            for key, value in settings.items():
                assert hasattr(getattr(config, part), key)
                setattr(getattr(config, part), key, value)
        torch.manual_seed(seed)
        return random_statistics(models.build(config, shape, 5), seed)

    return function


@pytest.mark.parametrize(("binarize_input", "binarize_output"), list(itertools.product((False, True), repeat=2)))
def test_mlp_agrees(build, agree, binarize_input, binarize_output):
    agree(build("mlp", model={"binarize_input": binarize_input, "binarize_output": binarize_output}), (1, 8, 8))


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("head", ["flatten", "average"])
def test_cnn_agrees_with_each_padding(build, agree, pad_value, head):
    agree(build("cnn", shape=(3, 7, 9), model={"pad_value": pad_value, "head": head}), (3, 7, 9))


@pytest.mark.parametrize("stem", ["real", "centred"])
def test_cnn_with_a_real_stem_agrees(build, agree, stem):
    agree(build("cnn", shape=(3, 11, 10), model={"stem": stem}), (3, 11, 10))


@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_cnn_on_binarized_pixels_agrees(build, agree, pad_value):
    settings = {"pad_value": pad_value, "binarize_input": True, "binarize_output": True}
    agree(build("cnn", shape=(1, 8, 8), model=settings), (1, 8, 8))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_shortcuts_agree(build, agree, name):
    agree(build(name, shape=(1, 9, 8), shortcut=True), (1, 9, 8))


@pytest.mark.parametrize("downsample", ["conv", "pool"])
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 4, 4)])
def test_resnet20_agrees_down_to_images_of_one_pixel(build, agree, downsample, shape):
    agree(build("resnet20", shape=shape, model={"downsample": downsample}), shape, count=5, certain=False)


@pytest.mark.parametrize("scaling", ["mean", "power_of_two", "learned"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_output_scales_of_either_sign_and_of_zero_agree(build, agree, name, scaling):
    model = build(name, weights={"scaling": scaling})
    for layer in model.modules():
        if isinstance(layer, BinaryLayer) and layer.scaling_factor is not None:
            layer.scaling_factor.data[1::3] *= -1
            layer.scaling_factor.data[2::5] = 0
    agree(model, (1, 8, 8))


@pytest.mark.parametrize("prepare", ["centre", "standardise", "quantile"])
def test_prepared_weights_agree(build, agree, prepare):
    model = build("mlp", weights={"prepare": prepare, "scaling": "mean"})
    for layer in binary_layers(model):
        layer.weight.data += 0.02  # so that the sign of the latent weight is another
    agree(model, (1, 8, 8))


@pytest.mark.parametrize("overrides", [("weights=stochastic",), ("optimizer=bop",), ("optimizer=bayesbinn",)])
def test_other_weights_agree(build, agree, overrides):
    agree(build("mlp", *overrides), (1, 8, 8))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("shortcut", [False, True])
def test_real_weights_agree(build, agree, name, shortcut):
    agree(build(name, "weights=real", shortcut=shortcut), (1, 8, 8))


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("shortcut", [False, True])
def test_binary_weights_on_real_activations_agree(build, agree, pad_value, shortcut):
    agree(build("cnn", ste="none", shortcut=shortcut, model={"pad_value": pad_value}), (1, 8, 8))


def test_an_mlp_without_binary_activations_agrees(build, agree):
    agree(build("mlp", ste="none"), (1, 8, 8))


def test_dropout_leaves_nothing(build, agree):
    packed = agree(build("mlp", model={"dropout": 0.5}), (1, 8, 8))
    assert {op.kind for op in packed.ops} <= {"flatten", "linear", "sign"}


def prune(model, seed=0):
    """Random edges, whole outputs and whole inputs of every layer with weights, the real ones too."""
    generator = torch.Generator().manual_seed(seed)
    for layer in weighted_layers(model).values():
        pruned = torch.rand(layer.weight.shape, generator=generator) < 0.4
        pruned[::4] = True
        pruned[:, 1::5] = True
        if isinstance(layer, BinaryLayer) and layer.binarizer.bits == 1:
            layer.prune(pruned)
        else:
            layer.weight.data.masked_fill_(pruned, 0)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20"])
@pytest.mark.parametrize("scaling", ["none", "mean"])
def test_pruned_edges_agree(build, agree, name, scaling):
    model = build(name, weights={"scaling": scaling})
    prune(model)
    packed = agree(model, (1, 8, 8), count=5, certain=name != "resnet20")
    assert any("mask" in op.tensors for op in packed.ops)


def test_pruned_edges_agree_where_borders_are_padded_with_signs(build, agree):
    for pad_value in (1, -1):
        model = build("cnn", shortcut=True, model={"pad_value": pad_value})
        prune(model, seed=1)
        agree(model, (1, 8, 8))


@pytest.mark.parametrize("deviations", [[0.3, 0.3, 0.3], [0.2, 0.3, 0.4]])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_colours_agree_whether_or_not_they_share_their_deviation(build, agree, name, deviations):
    packed = agree(build(name, shape=(3, 8, 8)), (3, 8, 8), mean=[0.5, 0.4, 0.3], std=deviations)
    on_pixels = "normalise" not in {op.kind for op in packed.ops}
    assert on_pixels == (name == "mlp" and len(set(deviations)) == 1)


@pytest.mark.parametrize("count", [0, 1, 2, 33])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_scores_depend_neither_on_the_batch_nor_on_threads(build, packed_of, random_pixels, count, threads):
    for model in (build("mlp"), build("cnn", shortcut=True, model={"head": "average"})):
        packed = packed_of(model, (1, 8, 8))
        images = random_pixels(33, (1, 8, 8))
        everything = plan(packed).run(images)
        assert np.array_equal(Network(packed, threads=threads).logits(images[:count]), everything[:count])
        one_by_one = [plan(packed).run(images[i : i + 1]) for i in range(min(count, 3))]
        assert all(np.array_equal(one[0], whole) for one, whole in zip(one_by_one, everything, strict=False))


def test_the_reference_takes_an_empty_batch(build, packed_of):
    for name in SMALL:
        packed = packed_of(build(name), (1, 8, 8))
        assert reference.run(packed, np.zeros((0, 1, 8, 8), np.uint8))[-1].shape == (0, 5)


def test_batch_norm_gives_the_same_bits_whatever_the_shape_and_the_order_in_memory():
    """Thresholds are taken from features; the network has images, of either memory format."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(19).eval()
    layer.running_mean.normal_(0, 20, generator=generator)
    layer.running_var.uniform_(1e-3, 90, generator=generator)
    layer.weight.data.normal_(0, 1, generator=generator)
    layer.bias.data.normal_(0, 1, generator=generator)
    x = torch.randint(-500, 500, (11, 19, 5, 7), generator=generator).float()
    with torch.no_grad():
        image = layer(x)
        last = layer(x.contiguous(memory_format=torch.channels_last))
        flat = layer(x.permute(0, 2, 3, 1).reshape(-1, 19, 1, 1)).view(11, 5, 7, 19).permute(0, 3, 1, 2)
    assert torch.equal(image, last)
    assert torch.equal(image, flat)


def test_tensors_lie_in_rows_whatever_was_taken_out_of_them(packed_of):
    """Weights without dead columns are others' columns in memory; a writer may read them as words."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), BinaryLinear(16, 24, estimator=None), nn.BatchNorm1d(24), BinaryLinear(24, 20), nn.Linear(20, 3)
    )
    mask = torch.rand(24, 16) < 0.5
    mask[3] = mask[7] = True
    model[1].prune(mask)
    model[3].prune(torch.rand(20, 24) < 0.5)
    packed = packed_of(model.eval(), (1, 4, 4))
    assert any(op.settings.get("outputs") == 22 for op in packed.ops)
    assert all(array.flags.c_contiguous for op in packed.ops for array in op.tensors.values())
