"""The figures of a layer, against enumeration over weights that were made by hand."""

import math

import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import Sign
from bnn_train.config.edges import IndexRule, RuleConfig
from bnn_train.edges.apply import Edges
from bnn_train.training.health import IMAGES, Health


def made(layer, rules=()):
    """The health of a network of one layer, called 0."""
    model = nn.Sequential(layer)
    return Health(model, Edges(list(rules), model))


def set_weight(health, values):
    health.layers["0"].weight.data.copy_(torch.tensor(values).view_as(health.layers["0"].weight))


def epochs(health, *weights):
    """The layer's figures after each epoch that ends with these weights."""
    found = []
    for i, values in enumerate(weights, start=1):
        set_weight(health, values)
        found.append(health.measure(i)["layers"]["0"])
        health.end_epoch()
    return found


def flip_figures(figures):
    return [figures[name] for name in ("flipped", "back_and_forth", "never_moved", "weights_positive")]


START = [0.1, -0.1, 0.2, -0.2, 0.3]


def five(**options):
    layer = BinaryLinear(5, 1, **options)
    layer.weight.data.copy_(torch.tensor([START]))
    return layer


def test_flips_by_hand():
    """+ - + - +; the first flips in the first two epochs, the second in the second one, the third in the first and in the third."""
    health = made(five())
    first = [-0.1, -0.1, -0.2, -0.2, 0.3]
    second = [0.0, 0.1, -0.2, -0.2, 0.3]  # 0 counts as +1
    third = [0.0, 0.1, 0.2, -0.2, 0.3]
    figures = [flip_figures(found) for found in epochs(health, first, second, third)]
    assert figures == [[0.4, 0, 0.6, 0.2], [0.4, 0.2, 0.4, 0.6], [0.2, 0, 0.4, 0.8]]


def test_measuring_changes_nothing():
    """A run that ends within an epoch is measured there, and may be continued later."""
    health = made(five())
    set_weight(health, [-0.1, -0.1, 0.2, -0.2, 0.3])
    row = health.measure(1, steps=3)
    assert (row["epoch"], row["steps"]) == (1, 3)
    assert health.measure(1)["layers"] == row["layers"]
    assert row["layers"]["0"]["flipped"] == 0.2


def test_a_convolution_is_counted_like_a_linear_layer_whatever_its_memory():
    conv, linear = BinaryConv2d(3, 4, 3), BinaryLinear(27, 4)
    linear.weight.data.copy_(conv.weight.data.flatten(1))
    conv.to(memory_format=torch.channels_last)
    signs = (1 - 2 * (torch.arange(4 * 27) % 2)).float()
    found = []
    for layer in (conv, linear):
        health = made(layer)
        for scale in (1, 2):
            layer.weight.data.mul_(scale * signs.view_as(layer.weight))
            found.append(health.measure(1)["layers"]["0"])
            health.end_epoch()
    assert found[:2] == found[2:]
    assert found[1]["back_and_forth"] == 0.5


def test_weights_outside_the_window_of_their_estimator():
    health = made(five(binarizer=Sign(Ste("clipped", clip=0.25), clip=None)))
    (found,) = epochs(health, [0.25, -0.25, 0.2500001, -0.3, 7])
    assert found["weights_outside"] == 0.6
    bounded = made(five(binarizer=Sign(Ste("clipped"), clip=0.5)))
    assert epochs(bounded, START)[0]["weights_outside"] == 0
    for without in (Sign(Ste("identity"), clip=None), Sign(Ste("clamped_grad"), clip=None)):
        assert "weights_outside" not in epochs(made(five(binarizer=without)), START)[0]


def test_the_size_of_weights_is_told_in_windows():
    """sqrt((4 + 4 + 0 + 1 + 1) / 5) = sqrt(2), in a window of 0.25."""
    health = made(five(binarizer=Sign(Ste("clipped", clip=0.25), clip=None)))
    assert epochs(health, [2, -2, 0, 1, -1])[0]["weights_size"] == pytest.approx(math.sqrt(2) / 0.25, rel=1e-3)
    assert "weights_size" not in epochs(made(five(binarizer=Sign(Ste("identity"), clip=None))), START)[0]


def test_what_is_outside_and_what_flips_is_the_prepared_weight():
    """Centred, 10 11 12 13 14 are -2 to 2: two are +1 and one is 0, two are outside [-1, 1]; a bound of the latent says nothing."""
    health = made(five(binarizer=Sign(Ste("clipped"), clip=0.5, prepare="centre")))
    (found,) = epochs(health, [10, 11, 12, 13, 14])
    assert (found["weights_positive"], found["weights_outside"]) == (0.6, 0.4)


def test_the_window_of_an_annealed_estimator_is_that_of_its_progress():
    estimator = Ste("ede")
    health = made(five(binarizer=Sign(estimator, clip=None)))
    estimator.progress = 1.0
    assert math.atanh(math.sqrt(0.99)) / 10 == pytest.approx(0.2993, abs=1e-4)
    assert epochs(health, [0.299, -0.299, 0.3, -0.3, 0.31])[0]["weights_outside"] == 0.6


def test_inputs_by_hand_of_the_first_images_and_the_first_call_alone():
    layer = five()
    health = made(layer)
    images = torch.tensor([[-2.0, -1.0, 0.0, 1.0, 1.5]]).repeat(IMAGES + 5, 1)
    images[IMAGES:] = 9
    with health.watching():
        layer(images)
        layer(images + 100)
    assert not layer._forward_pre_hooks
    (found,) = epochs(health, START)
    assert (found["inputs_positive"], found["inputs_outside"]) == (0.6, 0.4)


def test_real_inputs_have_no_figures():
    for estimator in (None, nn.ReLU()):
        layer = five(estimator=estimator)
        health = made(layer)
        with health.watching():
            layer(torch.ones(2, 5))
        assert not any(name.startswith("inputs") for name in epochs(health, START)[0])


def test_hooks_are_gone_after_an_error():
    layer = five()
    health = made(layer)
    with pytest.raises(RuntimeError), health.watching():
        raise RuntimeError
    assert not layer._forward_pre_hooks


def test_the_gradient_is_that_of_the_last_step_over_the_weight():
    layer = five()
    health = made(layer)
    layer.weight.grad = torch.full((1, 5), 0.03)
    health.note()
    layer.weight.grad = None
    assert epochs(health, [0.0, 0.0, 0.3, 0.4, 0.0])[0]["gradient"] == pytest.approx(0.03 * math.sqrt(5) / 0.5, rel=1e-3)
    assert "gradient" not in epochs(health, [0.0] * 5)[0]  # of nothing


def test_held_edges_do_not_count():
    """Of + - + - + the first is frozen and the last is pruned; of the other three one flips."""
    rules = [
        IndexRule(layers="0", edges="columns", index=[0], what="freeze"),
        IndexRule(layers="0", edges="columns", index=[4], what="prune"),
    ]
    layer = five(binarizer=Sign(Ste("clipped"), clip=None))
    health = made(layer, rules)
    layer.weight.grad = torch.tensor([[0.0, 0.1, 0.0, 0.0, 0.0]])
    health.note()
    (found,) = epochs(health, [9.0, 3.0, 0.0, -4.0, -9.0])
    expected = {"flipped": 1 / 3, "back_and_forth": 0, "never_moved": 2 / 3, "weights_positive": 2 / 3}
    assert found == pytest.approx(
        {**expected, "weights_outside": 2 / 3, "weights_size": 5 / math.sqrt(3), "gradient": 0.02}, rel=1e-3
    )


def test_a_layer_that_is_held_whole_has_no_figures_of_its_weights():
    layer = five()
    health = made(layer, [RuleConfig(layers="0", edges="all", what="freeze")])
    assert epochs(health, START) == [{}]


def test_its_state_takes_three_bits_a_weight_and_goes_on_exactly():
    layer = BinaryLinear(64, 100)
    health = made(layer)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(1, 4):
        flips = torch.where(torch.rand(layer.weight.shape, generator=generator) < 0.3, -1, 1)
        layer.weight.data.mul_(flips)
        whole = health.measure(epoch)
        if epoch < 3:
            health.end_epoch()
    state = health.state_dict()
    assert state["flips"].numel() == 3 * layer.weight.numel() / 8
    again = made(layer)
    again.load_state_dict(state)
    assert again.row == whole
    assert again.measure(3) == whole
    assert 0.3**2 - 0.02 < whole["layers"]["0"]["back_and_forth"] < 0.3**2 + 0.02
    assert 0.7**3 - 0.02 < whole["layers"]["0"]["never_moved"] < 0.7**3 + 0.02


def test_of_a_run_that_kept_no_state_it_is_not_said_what_never_moved():
    health = made(five())
    health.load_state_dict(None)
    (found,) = epochs(health, [-0.1, -0.1, 0.2, -0.2, 0.3])
    assert "never_moved" not in found
    assert found["flipped"] == 0.2


def test_a_single_flip_among_many_is_not_rounded_away():
    layer = BinaryLinear(1000, 1000)
    health = made(layer)
    layer.weight.data[0, 0] *= -1
    found = health.measure(1)["layers"]["0"]
    assert (found["flipped"], found["never_moved"]) == (1e-6, 0.999999)


def test_a_trainer_has_a_row_for_every_binary_layer_and_epoch(trainer):
    t = trainer()
    seen = []
    for row in t.fit():
        assert t.health.row["epoch"] == row["epoch"]
        seen.append(t.health.row["layers"])
    assert [list(layers) for layers in seen] == [["linear1", "linear2"]] * 2
    assert seen[0]["linear1"].keys() == {
        "flipped", "back_and_forth", "never_moved", "weights_positive", "weights_outside", "weights_size", "gradient"
    }  # fmt: skip
    assert seen[0]["linear2"].keys() == seen[0]["linear1"].keys() | {"inputs_positive", "inputs_outside"}
    assert seen[1]["linear2"]["never_moved"] <= seen[0]["linear2"]["never_moved"]


@pytest.mark.parametrize("optimizer", ["bop", "bayesbinn"])
def test_weights_without_an_estimator_have_no_window(trainer, optimizer):
    t = trainer(f"optimizer={optimizer}", "trainer.epochs=1")
    next(t.fit())
    assert all("weights_outside" not in figures for figures in t.health.row["layers"].values())
