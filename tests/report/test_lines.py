import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bnn_train.cli.arguments import for_hydra
from bnn_train.report import lines


@pytest.mark.parametrize(
    "path",
    [
        *(
            "outputs/a-b/1",
            "sweeps/m/model.hidden=[64,64],seed=0",
            "photos (1)",
            "Bob's",
            "a,b",
            "été",
            "2024_05_12",
            "1e3",
            "true",
        ),
        *("a=b", "a b/c", "$HOME", 'say "x"', "back\\slash", "ends\\", "!bang", "*", "#1"),
    ],
)
def test_the_argument_that_continues_a_run_is_read_as_the_path(path):
    (argument,) = shlex.split(lines.resume_argument(path))
    (argument,) = for_hydra([argument])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert str(override.value()) == path


@pytest.mark.parametrize("path", ["null", "~", "'quoted'"])
def test_a_path_that_reads_as_something_else_is_given_from_the_current_folder(path):
    assert shlex.split(lines.resume_argument(path)) == [f"resume=./{path}"]


def test_a_path_that_needs_no_quotes_is_printed_without():
    assert lines.resume_argument("outputs/2026-01-31/12-00-00") == "resume=outputs/2026-01-31/12-00-00"


def test_data_line():
    assert lines.data_line("digits", (1338, 100, 359), (1, 8, 8), 10) == (
        "digits: 1,338 training images, 100 held out, 359 test images, 1x8x8, 10 classes"
    )


def test_epoch_line():
    row = {"epoch": 3, "train_loss": 0.5, "train_accuracy": 0.9, "test_accuracy": 0.8, "lr": 0.01}
    line = lines.epoch_line(row, [(1000, 2.0), (1000, 4.0)], 5, 1000)
    assert line == "epoch 3/5  loss 0.5000  train 90.00%  test 80.00%  lr 0.01  250 img/s  left 6.0 s"
    assert lines.epoch_line(row, [(1000, 2.0)], 50, 1000, end=3.5).endswith("left 1.0 s")
    assert "0 img/s" in lines.epoch_line(row, [(0, 0.0)], 3, 1000)  # nothing was left to train


def test_plan_line():
    assert "would train to step 100 (2 x 50 steps an epoch)" in lines.plan_line(0, 50, 2, None)
    assert "would continue after step 60 and train to step 75 (1.5 x" in lines.plan_line(60, 50, 2, 75)
    assert "nothing would be done" in lines.plan_line(75, 50, 2, 75)
