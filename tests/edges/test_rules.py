import pytest
import torch
from torch import nn

from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.weights import BayesBinn, Binary, Sign
from bnn_train.config.edges import EdgesConfig
from bnn_train.edges.rules import resolve
from bnn_train.errors import ConfigError

WEIGHTS = {
    "sign": Sign,
    "binary": Binary,
    "bayesbinn": BayesBinn,
    "centred": lambda: Sign(prepare="centre"),
    "moved": lambda: Sign(centre=True),
}


def layers(name="sign"):
    return {
        "linear1": BinaryLinear(2, 2, WEIGHTS[name]()),
        "linear2": BinaryLinear(2, 2, WEIGHTS[name]()),
        "output": nn.Linear(2, 2),
    }


def masks(*rules, among=None):
    return resolve(EdgesConfig(list(rules)).rules, among or layers())


@pytest.fixture
def mask_file(tmp_path):
    def function(values):
        torch.save(torch.tensor(values), tmp_path / f"{values}.pt")
        return str(tmp_path / f"{values}.pt")

    return function


def test_the_classic_example(mask_file):
    """Of the mask [[1, 0], [1, 1]] all but edge (0, 1) are trained."""
    found = masks({"layers": "linear1", "what": "train", "edges": "file", "file": mask_file([[1, 0], [1, 1]])})
    assert list(found) == ["linear1"]
    assert found["linear1"].frozen.tolist() == [[False, True], [False, False]]
    assert found["linear1"].pruned is None


def test_wildcards_name_layers():
    assert list(masks({"layers": "linear*", "what": "freeze"})) == ["linear1", "linear2"]
    assert list(masks({"layers": "*", "what": "freeze"})) == ["linear1", "linear2", "output"]
    assert list(masks({"layers": "linear[2]", "what": "freeze"})) == ["linear2"]


def test_a_layer_within_a_block_is_named_by_its_last_part_or_the_whole():
    among = {"linear1": nn.Linear(2, 2), "block_linear2.linear2": nn.Linear(2, 2), "output": nn.Linear(2, 2)}
    for pattern, names in (("linear*", 2), ("linear2", 1), ("block_linear2.linear2", 1), ("block*", 1), ("*", 3)):
        assert len(masks({"layers": pattern, "what": "freeze"}, among=among)) == names


def test_rules_about_a_layer_add_up(mask_file):
    one, other = mask_file([[1, 0], [0, 0]]), mask_file([[0, 0], [0, 1]])
    trained = [{"layers": "linear1", "what": "train", "edges": "file", "file": file} for file in (one, other)]
    assert masks(*trained)["linear1"].frozen.tolist() == [[False, True], [True, False]]
    penalties = [{"layers": "*1", "what": "l1", "strength": 0.5, "edges": "file", "file": file} for file in (one, other)]
    found = masks(*trained, *penalties)["linear1"]
    assert [(strength, mask.int().tolist()) for strength, mask in found.penalties] == [
        (0.5, [[1, 0], [0, 0]]),
        (0.5, [[0, 0], [0, 1]]),
    ]
    both = masks({"layers": "linear1", "what": "freeze"}, {"layers": "linear1", "what": "prune", "edges": "rows", "index": [0]})
    assert both["linear1"].frozen.int().tolist() == [[0, 0], [1, 1]]  # pruned ones are counted as pruned
    assert both["linear1"].held.all()


ROW0 = {"edges": "rows", "index": [0]}
SMALLEST = {"edges": "magnitude", "largest": False}


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ({"what": "train", **ROW0}, {"what": "freeze", "edges": "columns", "index": [0]}, "1 edges of linear1 (0,0 is the first)"),
        ({"what": "train", **ROW0}, {"what": "prune", **ROW0}, "2 edges of linear1 (0,0"),
        ({"what": "freeze", **ROW0}, {"what": "l1", "strength": 1.0}, "2 edges of linear1 (0,0"),
        ({"what": "l1", "strength": 1.0}, {"what": "prune", **ROW0}, "2 edges of linear1 (0,0"),
        ({"what": "train", **ROW0}, {"what": "l1", "strength": 1.0}, "2 edges of linear1 (1,0"),
        (
            {"what": "train", **ROW0},
            {"what": "prune", "edges": "magnitude", "largest": False, "density": 0.5, "ramp": [0, 3]},
            "2 edges of linear1 (0,0",
        ),
        (
            {"what": "freeze", **ROW0},
            {"what": "prune", "edges": "magnitude", "largest": False, "density": 0.5, "ramp": [0, 3]},
            "2 edges of linear1 (0,0",
        ),
    ],
)
def test_contradictions_are_refused_with_both_rules_named(first, second, clash):
    rules = [{"layers": "linear1", **first}, {"layers": "linear*", **second}]
    for order in (rules, rules[::-1]):
        with pytest.raises(ConfigError) as caught:
            masks(*order)
        message = str(caught.value)
        assert clash in message
        for rule in order:
            assert f"{{layers: {rule['layers']}, what: {rule['what']}" in message


def test_rules_that_meet_nowhere_do_not_contradict():
    masks({"layers": "linear1", "what": "train", **ROW0}, {"layers": "linear1", "what": "prune", "edges": "rows", "index": [1]})
    masks({"layers": "linear1", "what": "freeze"}, {"layers": "linear2", "what": "train"})


FREEZE = {"layers": "linear1", "what": "freeze"}
RANDOM = {"edges": "random", "density": "x"}
RAMP = {"layers": "*", "what": "prune", **SMALLEST}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({**FREEZE, "layers": "hidden.*"}, "layers=hidden.*: matches no layer; there are linear1, linear2, output"),
        ({**FREEZE, "what": "stop"}, "what=stop: must be one of train, freeze, prune, l1"),
        ({"what": "freeze"}, "layers=null: every rule needs it, as in {layers: linear2, what: freeze}"),
        ({"layers": "linear1"}, "what=null: every rule needs it"),
        ({**FREEZE, "edges": "some"}, "edges=some: must be one of all, random, magnitude, rows, columns, n_m, block, file"),
        ({**FREEZE, "edges": "random"}, "density=null: edges: random needs a value"),
        ({**FREEZE, "edges": "random", "density": 1.5}, "density=1.5: must be in [0, 1]"),
        ({**FREEZE, "density": 0.5}, "density=0.5: a rule with edges: all takes layers, what, edges, strength"),
        ({**FREEZE, "what": "l1"}, "strength=null: what=l1 needs a strength"),
        ({**FREEZE, "strength": 1.0}, "strength=1.0: what=l1 needs a strength"),
        ({**FREEZE, "what": "l1", "strength": -1.0}, "strength=-1.0: must be a number of at least 0"),
        ({**FREEZE, "edges": "n_m", "n": 3, "m": 2}, "n=3: must be at most m=2"),
        ({**FREEZE, "edges": "n_m", "n": 0, "m": 2}, "n=0: must be a whole number of at least 1"),
        (
            {**FREEZE, "edges": "block", "density": 0.5, "size": [2]},
            "size=[2]: must be two whole numbers of at least 1",
        ),
        ({**FREEZE, "ramp": [0, 3]}, "ramp=[0,3]: a ramp prunes the smallest weights"),
        ({**RAMP, "density": 0.5, "ramp": [3, 3]}, "ramp=[3,3]: must be two rising numbers of epochs"),
        ({**RAMP, "density": 0.1, "from_density": 0.2, "ramp": [0, 3]}, "density=0.1: must be at least from_density=0.2"),
        ({**RAMP, "density": 0.1, "power": 2}, "power=2.0: is for a ramp, as in ramp: [2, 10]"),
    ],
)
def test_a_bad_rule_is_one_line(rule, message):
    with pytest.raises(ConfigError) as caught:
        masks(rule)
    assert str(caught.value).startswith(f"edges.rules.{message}")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("freeze", "edges.rules=freeze: every rule is {layers: NAME, what: ..., ...}"),
        ({**FREEZE, "dens": 1}, "edges.rules.dens=1: a rule with edges: all takes layers, what, edges, strength"),
        (
            {**FREEZE, "edges": "random", "density": "x"},
            "edges.rules={layers: linear1, what: freeze, edges: random, density: x}: Value 'x' of type 'str' could not",
        ),
    ],
)
def test_what_is_no_rule_at_all_is_shown_whole(rule, message):
    with pytest.raises(ConfigError) as caught:
        masks(rule)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([FREEZE, {**FREEZE, "edges": "random", "density": 2}], "edges.rules.1.density=2.0: must be in [0, 1]"),
        ([FREEZE, "freeze"], "edges.rules.1=freeze: every rule is {layers: NAME"),
        ([{**FREEZE, "layers": "hid*"}, FREEZE], "edges.rules.0.layers=hid*: matches no layer"),
    ],
)
def test_of_several_rules_a_refusal_names_the_place_as_it_is_typed(rules, message):
    with pytest.raises(ConfigError) as caught:
        masks(*rules)
    assert str(caught.value).startswith(message)


def test_a_file_that_names_another_layer(tmp_path):
    torch.save({"linear1": torch.ones(2, 2), "hidden": torch.ones(2, 2)}, tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=r"names \[hidden\]; the layers are linear1, linear2, output"):
        masks({"layers": "linear1", "what": "freeze", "edges": "file", "file": str(tmp_path / "m.pt")})


def test_a_penalty_needs_latent_weights_that_it_can_shrink():
    rule = {"layers": "linear1", "what": "l1", "strength": 0.1}
    with pytest.raises(
        ConfigError,
        match=r"edges\.rules\.what=l1: its weights are -1 or \+1 themselves, without a latent size to shrink, in linear1",
    ):
        masks(rule, among=layers("binary"))
    with pytest.raises(ConfigError, match=r"edges\.rules\.what=l1: a step would multiply the penalty"):
        masks(rule, among=layers("bayesbinn"))


def test_sizes_say_nothing_where_weights_have_none():
    with pytest.raises(ConfigError, match=r"edges\.rules\.edges=magnitude: the weights of linear1 are all equally large"):
        masks({"layers": "linear1", "what": "freeze", "edges": "magnitude", "density": 0.5}, among=layers("binary"))


@pytest.mark.parametrize("what", ["freeze", "train"])
def test_edges_are_not_held_where_a_prepare_mixes_them(what):
    """The latent weight would keep its last bit and its sign could flip all the same, with the mean of the others."""
    with pytest.raises(ConfigError, match=f"what={what}: weights.prepare=centre mixes the edges of an output of linear1"):
        masks({"layers": "linear*", "what": what, **ROW0}, among=layers("centred"))
    masks({"layers": "output", "what": what, **ROW0}, among=layers("centred"))  # a real layer holds its own
    masks({"layers": "linear*", "what": "prune", **ROW0}, among=layers("centred"))


@pytest.mark.parametrize("what", ["freeze", "train"])
def test_edges_are_not_held_where_each_step_centres_them(what):
    with pytest.raises(ConfigError, match=f"what={what}: weights.centre=true moves the edges of an output of linear1"):
        masks({"layers": "linear*", "what": what, **ROW0}, among=layers("moved"))
    masks({"layers": "linear*", "what": "prune", **ROW0}, among=layers("moved"))


@pytest.mark.parametrize("what", ["freeze", "train"])
def test_edges_of_a_centred_stem_are_pruned_alone(what):
    among = {"conv1": CentredConv2d(1, 2, 3)}
    with pytest.raises(ConfigError, match=f"what={what}: model.stem=centred moves the edges of a filter of conv1"):
        masks({"layers": "conv1", "what": what, **ROW0}, among=among)
    masks({"layers": "conv1", "what": "prune", **ROW0}, among=among)
