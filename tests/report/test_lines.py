import re
import shlex
import shutil
import subprocess

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


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_every_shell_reads_it_as_one_word(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    paths = ["sweeps/seed/model.hidden=[8,8],seed=0", "a b/(1)", "Bob's $HOME", "=ls", "~x", "!bang *?", "été"]
    line = "printf '%s\\n' " + " ".join(map(lines.resume_argument, paths))
    said = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True, encoding="utf-8").stdout.splitlines()
    assert [word.removeprefix("resume=").removeprefix("./") for word in said] == paths


@pytest.mark.parametrize("path", ["null", "~", "'quoted'"])
def test_a_path_that_reads_as_something_else_is_given_from_the_current_folder(path):
    assert shlex.split(lines.resume_argument(path)) == [f"resume=./{path}"]


def test_a_path_that_needs_no_quotes_is_printed_without():
    assert lines.resume_argument("outputs/2026-01-31/12-00-00") == "resume=outputs/2026-01-31/12-00-00"


def test_data_line():
    assert lines.data_line("digits", (1338, 100, 359), (1, 8, 8), 10) == (
        "digits: 1,338 training images, 100 held out, 359 test images, 1x8x8, 10 classes"
    )


def test_first_line_breaks_between_options(columns, compose):
    columns(60)
    assert lines.first_line(compose("resume=r")) == "continuing r"
    text = lines.first_line(compose())
    assert " ".join(text.split()) == "mlp on digits, ste=clipped, weights=sign, optimizer=adam, scheduler=cosine, seed=0"
    assert max(map(len, text.splitlines())) <= 60


def test_first_line_names_what_was_chosen_and_not_its_kind(columns, compose):
    columns(200)
    chosen = {"method": "irnet", "model": "resnet20", "block": "resnet", "weights": "irnet", "optimizer": "irnet", "ste": "ede"}
    assert lines.first_line(compose("method=irnet"), chosen) == (
        "method=irnet: resnet20 on digits, block=resnet, ste=ede, weights=irnet, optimizer=irnet, scheduler=cosine, seed=0"
    )
    assert lines.first_line(compose("model=resnet20")).startswith("resnet20 on digits, block=bireal, ste=clipped,")


ROW = {"epoch": 3, "train_loss": 0.5, "train_accuracy": 0.9, "test_accuracy": 0.8, "lr": 0.01}


def test_epoch_line(columns):
    times = [(1000, 2.0), (1000, 4.0)]
    assert lines.epoch_line(ROW, times, 5, 1000) == "epoch 3/5  loss 0.5000  train 90.00%  test 80.00%  lr 0.01     left 6.0 s"
    assert lines.epoch_line(ROW, [(1000, 2.0)], 50, 1000, end=3.5).endswith("left 1.0 s")
    paused = [(1000, 9000.0), *[(1000, 2.0)] * 5]
    assert lines.epoch_line({**ROW, "epoch": 6}, paused, 9, 1000).endswith("left 6.0 s")
    columns(120)
    line = lines.epoch_line(ROW, times, 5, 1000)
    assert line == "epoch 3/5  loss 0.5000  train 90.00%  test 80.00%  lr 0.01         250 img/s  left 6.0 s"
    assert " 0 img/s" in lines.epoch_line(ROW, [(0, 0.0)], 3, 1000)  # nothing was left to train


FULL = {**ROW, "val_accuracy": 0.9722, "val_ensemble_accuracy": 0.0701, "test_ensemble_accuracy": 1.0}


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (60, "epoch    3  loss 0.5000  val 97.22/ 7.01%  test 80.00/100.0%"),
        (80, "epoch    3/1000  loss 0.5000  train 90.00%  val 97.22/ 7.01%  test 80.00/100.0%"),
        (100, "epoch    3/1000  loss 0.5000  train 90.00%  val 97.22/ 7.01%  test 80.00/100.0%  left 1:23:05"),
        (
            150,
            "epoch    3/1000  loss 0.5000  train 90.00%  val 97.22%  val ensemble  7.01%  test 80.00%  test ensemble 100.0%  "
            "lr 0.01     left 1:23:05",
        ),
        (
            160,
            "epoch    3/1000  loss 0.5000  train 90.00%  val 97.22%  val ensemble  7.01%  test 80.00%  test ensemble 100.0%  "
            "lr 0.01         200 img/s  left 1:23:05",
        ),
    ],
)
def test_a_narrow_line_leaves_out_what_matters_least(columns, width, line):
    columns(width)
    assert lines.epoch_line(FULL, [(1000, 5.0)], 1000, 1000) == line


def test_of_the_averages_figures_the_one_that_decides_stays(columns):
    columns(79)
    row = {**ROW, "val_accuracy": 0.9722, "ema_val_accuracy": 0.9811, "ema_test_accuracy": 0.8123}
    line = lines.epoch_line(row, [(1000, 5.0)], 9, 1000)
    assert line == "epoch 3/9  loss 0.5000  val 97.22%  test 80.00%  ema val 98.11%"


def test_a_run_goes_on_with_its_plugins():
    assert lines.resume_argument("tm2", ["widget.py", "my.net"]) == "'plugins=[widget.py,my.net]' resume=tm2"
    assert lines.resume_argument("tm2") == "resume=tm2"


@pytest.mark.parametrize("width", [40, 60, 80, 90, 92, 100, 120, 160])
@pytest.mark.parametrize("row", [ROW, {**ROW, "val_accuracy": 0.5}, FULL])
def test_all_lines_of_a_run_align_whatever_their_figures(columns, width, row):
    columns(width)
    shapes, longest = set(), 0
    for epoch, loss, share, lr, times in (
        (1, 2.30259, 0.0, 0.1, (1000, 500.0)),  # 138 hours left
        (2, 12.345678, 0.0912, 0.00012, (1000, 50.0)),
        (99, 123_456.789, 0.9999, 1.2345e-5, (1000, 5.0)),
        (1000, 1e30, 0.999999, 1e-10, (1_000_000, 0.1)),
    ):
        figures = {key: share if key.endswith("accuracy") else value for key, value in row.items()}
        line = lines.epoch_line({**figures, "epoch": epoch, "train_loss": loss, "lr": lr}, [times], 1000, 1000)
        shapes.add(tuple((word.group(), word.start()) for word in re.finditer(r"[a-z]+ ", line)))
        longest = max(longest, *map(len, line.splitlines()))
    assert longest <= width
    assert width == 40 or len({tuple(shape) for shape in shapes}) == 1
    assert "loss" in line


@pytest.mark.parametrize(("room", "text"), [(44, "epoch  3/20  loss 0.1234  train 98.70%"), (24, "epoch  3/20  loss 0.1234")])
def test_what_stands_before_the_bar_keeps_the_loss(room, text):
    assert lines.bar_figures(3, 20, (0.1234, 0.987), room) == text
    assert len(lines.bar_figures(3, 20, None, room)) == len(text)  # the bar does not jump when they are known
    assert len(lines.bar_figures(1000, 1000, (0.1, 0.9), 24)) <= 24  # at 60 columns


@pytest.mark.parametrize("width", [60, 80, 120])
def test_other_lines_of_a_run_break_between_their_parts(columns, width):
    columns(width)
    long = lines.data_line("image_folder", (1_234_567, 12_345, 12_345), (3, 224, 224), 1000)
    assert " ".join(long.split()) == (
        "image_folder: 1,234,567 training images, 12,345 held out, 12,345 test images, 3x224x224, 1,000 classes"
    )
    plan = lines.plan_line(1_234_567, 1234, 10_000, None)
    finished = lines.finished_line("outputs/2026-01-31/12-00-00-000000")
    assert max(len(line) for text in (long, plan, finished) for line in text.splitlines()) <= width
    assert "(10,000 x 1,234 steps an epoch);" in " ".join(plan.split())


def test_plan_line(columns):
    columns(120)
    assert "would train to step 100 (2 x 50 steps an epoch)" in lines.plan_line(0, 50, 2, None)
    assert "would continue after step 60 and train to step 75 (1.5 x" in lines.plan_line(60, 50, 2, 75)
    assert "nothing would be done" in lines.plan_line(75, 50, 2, 75)
