"""From a row of figures to words: each illness by itself, at its threshold."""

import json

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import advice, health

WELL = {
    "flipped": 0.03,
    "back_and_forth": 0.01,
    "never_moved": 0.6,
    "weights_positive": 0.5,
    "weights_outside": 0.3,
    "inputs_positive": 0.45,
    "inputs_outside": 0.6,
    "gradient": 1e-4,
}


@pytest.fixture
def said(compose):
    def function(
        *overrides, epoch=5, at_end=True, accuracy=0.5, loss=1.0, layers=("linear2",), well=("linear3",), steps=None, **figures
    ):
        ill = {name: {**WELL, **figures} for name in layers}
        row = {"epoch": epoch, "layers": {**ill, **dict.fromkeys(well, WELL)}}
        if steps is not None:
            row["steps"] = steps
        return health.illnesses(row, {"train_loss": loss, "train_accuracy": accuracy}, compose(*overrides), 10, at_end)

    return function


def test_of_a_healthy_network_nothing_is_said(said):
    assert said() == said(epoch=1) == said(layers=(), well=()) == {}


def test_nothing_flips(said):
    still = {"flipped": 0.0, "back_and_forth": 0.0, "never_moved": 1.0, "well": ()}
    line = "nothing flips, no binary weight has changed its sign: optimizer.lr=1e-09 is too small; try 0.01"
    assert said("optimizer.lr=1e-9", **still) == {"nothing flips": line}
    assert said("optimizer.lr=1e-9", at_end=False, epoch=2, **still) == {"nothing flips": line}
    assert said("optimizer.lr=1e-9", at_end=False, epoch=1, **still) == {}  # not certain yet
    assert said(epoch=1, steps=3, **still) == {}  # nor was it tried
    assert said(never_moved=1.0) == {}  # the other layer's do
    for optimizer, key in (
        ("bop", "threshold=1e-08 is too high"),
        ("bayesbinn", "natural_lr=0.0001"),
        ("sgd", "lr=0.1 is too small"),
    ):
        assert f"optimizer.{key}" in said(f"optimizer={optimizer}", **still)["nothing flips"]


def test_next_to_nothing_flips(said):
    """Single weights near 0 flip at any learning rate."""
    still = {"never_moved": 0.9992, "well": ()}
    few = "next to nothing flips, in each layer fewer than 0.1% of the binary weights have ever changed their sign"
    line = f"{few}: optimizer.lr=1e-09 is too small; try 0.01"
    assert (
        said("optimizer.lr=1e-9", **still) == said("optimizer.lr=1e-9", at_end=False, epoch=2, **still) == {"nothing flips": line}
    )
    assert said(accuracy=0.96, **still) == {}  # a network that was trained before
    assert said(never_moved=0.998, well=()) == said(never_moved=0.9992) == {}


def test_a_loss_beyond_reason_comes_first(said):
    """Guessing one of ten classes costs log 10 = 2.3."""
    found = said(loss=2.3e8, inputs_outside=0.97)
    assert list(found) == ["absurd loss", "blocked inputs"]
    assert found["absurd loss"] == "the loss is 2e+08, where guessing has 2.3: a lower optimizer.lr"
    assert list(said(loss=231, at_end=False)) == ["absurd loss"]
    assert said("distill=attention", "distill.teacher=t", loss=231, at_end=False) == {}  # a teacher's loss has its own scale
    assert said(loss=230) == said("loss=squared_hinge", loss=2.3e8) == {}


def test_saturated_weights_that_were_thrown_far(said):
    """The learning rate comes first, and that they are stuck is said at the end."""
    (line,) = said(weights_outside=0.9, weights_size=40.3, flipped=0.0).values()
    assert (
        "get no gradient, and in the last epoch none flipped: a lower optimizer.lr (they are 40 windows large), or weights.clip=1"
        in line
    )
    assert line.endswith("or weights.clip=1 keeps them in, or weights.ste=identity has no window")
    assert "none flipped" not in said(weights_outside=0.9, flipped=0.0, at_end=False)["saturated weights"]
    assert "get no gradient: weights.clip=1" in said(weights_outside=0.9, weights_size=9.0)["saturated weights"]


def test_saturated_weights(said):
    (line,) = said(weights_outside=0.612, layers=("conv3",)).values()
    remedy = "weights.clip=1 keeps them in, or weights.ste=identity has no window"
    assert line == f"conv3: 61% of the latent weights left the window of clipped and get no gradient: {remedy}"
    assert said(weights_outside=0.5) == {}
    (line,) = said("weights.ste=tanh", weights_outside=0.9).values()
    assert "left the window of tanh and get next to no gradient: a smaller weights.clip" in line
    assert "weights.clip=0.5 keeps" in said("ste.clip=0.5", weights_outside=0.9)["saturated weights"]
    (line,) = said("weights.prepare=quantile", weights_outside=0.9).values()
    assert "of the prepared weights left" in line
    assert line.endswith("weights.ste=identity, which has no window, or a lower optimizer.lr")
    assert said("weights.prepare=standardise", weights_outside=0.6) == {}
    assert said("ste=ede", weights_outside=0.9) == {}  # its window shrinks


def test_several_layers_with_the_same_illness_share_a_line(said, compose):
    (line,) = said(weights_outside=0.9, layers=("a", "b", "c", "d", "e")).values()
    assert line.startswith("a, b and 3 more: 90% of")
    row = {"epoch": 3, "layers": {"a": {**WELL, "inputs_outside": 0.96}, "b": {**WELL, "inputs_outside": 0.99}}}
    (line,) = health.illnesses(row, {"train_loss": 1.0, "train_accuracy": 0.5}, compose(), 10, True).values()
    assert line.startswith("a and b: 96% to 99% of the inputs")


@pytest.mark.parametrize(("share", "sign"), [(1.0, "+1"), (0.0, "-1")])
def test_constant_inputs(said, share, sign):
    (line,) = said(inputs_positive=share).values()
    assert line == f"linear2: the inputs are all {sign}, whatever the image, so that nothing passes: a lower optimizer.lr"
    assert "block.activation=none does" in said("block.activation=relu", inputs_positive=share)["constant inputs"]
    assert said(inputs_positive=0.99) == said(inputs_positive=0.01) == {}


def test_blocked_inputs(said):
    (line,) = said(inputs_outside=0.97).values()
    remedy = "a window wider than ste.clip=1, or a lower optimizer.lr"
    assert line == f"linear2: 97% of the inputs are outside the window of clipped, and next to no gradient passes back: {remedy}"
    assert "ste=identity" in said("ste=tanh", inputs_outside=0.97)["blocked inputs"]
    assert said("ste=ede", inputs_outside=0.97) == said("block=recu", inputs_outside=0.97) == {}


def test_blocked_inputs_are_said_early_only_of_a_network_that_does_not_learn(said):
    assert said(inputs_outside=0.97, at_end=False, accuracy=0.2) == {}
    assert list(said(inputs_outside=0.97, at_end=False, accuracy=0.18)) == ["blocked inputs"]
    assert list(said(inputs_outside=0.97, at_end=False, gradient=0.0)) == ["blocked inputs", "vanished gradients"]
    layer_done = {"inputs_outside": 0.97, "gradient": 0.0}
    assert said("weights=stompp", "ste=clipped", at_end=False, **layer_done) == {}


def test_vanished_gradients(said):
    (line,) = said(gradient=3e-10).values()
    assert line.startswith("linear2: the norm of the gradient is 3e-10 of that of the weights, it vanishes on its way back: ")
    assert line.endswith("ste.clip=1, a shortcut around each layer (block=bireal), or a lower optimizer.lr")
    assert "gradient is 0, it" in said(gradient=0.0)["vanished gradients"]
    assert said(gradient=3e-10, accuracy=0.99) == {}  # nothing is left to learn
    assert said("optimizer=bayesbinn", gradient=3e-12) == {}  # natural parameters may be as large as they like
    assert list(said(gradient=0.0, weights_outside=0.9)) == ["saturated weights"]  # which says why


def test_restless_weights_are_said_at_the_end_alone(said):
    (line,) = said(back_and_forth=0.34).values()
    remedy = "an optimizer.lr below 0.01, or a schedule that ends low, as scheduler=cosine does"
    assert line == f"linear2: 34% of the weights flip back and forth every epoch: {remedy}"
    assert said(back_and_forth=0.34, at_end=False) == {}
    assert "optimizer.threshold above 1e-08" in said("optimizer=bop", back_and_forth=0.34)["restless weights"]


@pytest.mark.parametrize(
    "figures",
    [
        {"never_moved": 1.0, "well": ()},
        {"never_moved": 0.9995, "well": ()},
        {"loss": 2.3e8},
        {"weights_outside": 0.9},
        {"inputs_positive": 1.0},
        {"inputs_outside": 0.97},
        {"gradient": 0.0},
        {"back_and_forth": 0.34},
    ],
    ids=str,
)
def test_every_illness_has_a_few_words_that_name_no_layer_and_no_figure(said, figures):
    lines = list(said(**figures).values())
    (kind,) = advice.kinds(lines)
    assert kind in advice._KINDS.values()
    assert not any(character.isdigit() for character in kind)


def write(folder, *lines):
    (folder / "health.jsonl").write_text("\n".join(lines))


def test_the_table_of_a_run_is_that_of_its_last_whole_row(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    first = {name: value for name, value in WELL.items() if not name.startswith("inputs")}
    rows = [{"epoch": n, "layers": {"stage1.conv": first, "linear2": {**WELL, "flipped": n / 100}}} for n in (1, 2, 3)]
    write(tmp_path, *map(json.dumps, rows[:2]), json.dumps(rows[2])[:50])
    lines = health.show(tmp_path).splitlines()
    assert lines[0].strip() == "health of the binary layers in epoch 2"
    assert lines[-2].split() == ["stage1.conv", "3.00%", "1.00%", "60.0%", "30.0%", "50.0%", "1.0e-04"]
    assert lines[-1].split() == ["linear2", "2.00%", "1.00%", "60.0%", "30.0%", "60.0%", "50.0%", "45.0%", "1.0e-04"]
    assert "epoch 3, step 7" in health.table({**rows[2], "steps": 7})


def test_a_directory_without_health(tmp_path):
    for lines in (None, [], ["[1]", "{}", "rubbish"]):
        if lines is not None:
            write(tmp_path, *lines)
        with pytest.raises(ConfigError, match=r"holds no health\.jsonl; --health takes the directory of a run with binary weights"):
            health.show(tmp_path)


def test_what_is_no_directory_of_a_run(tmp_path):
    run = tmp_path / "sweep" / "3"
    run.mkdir(parents=True)
    write(run, "")
    (run / "metrics.jsonl").write_text("")
    takes = "--health takes the directory of a run"
    for path, remedy in (
        (tmp_path / "none", f"does not exist; {takes}"),
        (run / "metrics.jsonl", f"is a file; {takes}, as in {run}"),
        (run.parent, f"is the directory of a sweep; {takes}, as in {run}"),
        (run, f"holds no health.jsonl; {takes} with binary weights, after its first epoch"),
    ):
        with pytest.raises(ConfigError) as error:
            health.show(path)
        assert str(error.value) == f"run={path}: {remedy}"
