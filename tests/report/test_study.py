"""The table of a study, from plain data."""

import json

import pytest

from bnn_train.report import given, grid, show, study, study_table
from bnn_train.report.welch import Sample, difference

NETWORK = {"parameters": 9, "binary_macs": 1024, "real_macs": 3392, "bytes": 2728, "binary_weights": 8, "float32_bytes": 99}


def run(seed, accuracy, **changes):
    figures = {"test_accuracy": accuracy, "val_accuracy": 0.5, "seconds": 10.0, "images": {"test": 1000}, "network": NETWORK}
    machine = {"device": "cpu x86_64, threads: 2", "versions": {"torch": "2.9", "python": "3.11"}}
    return {"seed": seed, "status": "finished", "reason": "", **figures, **machine, **changes}


def missing(seed, status="missing", reason=""):
    return {"seed": seed, "status": status, "reason": reason}


def row(name, *accuracies, twin="twin", epochs=(20,), refused="", runs=None):
    runs = [run(seed, accuracy) for seed, accuracy in enumerate(accuracies)] if runs is None else runs
    about = {"name": name, "method": name if twin else None, "twin": twin, "model": "mlp", "epochs": list(epochs)}
    return {**about, "overrides": [], "refused": refused, "runs": runs}


def made(*rows, **changes):
    about = {"format": 1, "name": "s", "title": "studies/s", "command": "bnn-study methods=a,b seeds=3", "seeds": [0, 1, 2]}
    return {**about, "held_out": 143, "processor": "Example 7", "rows": list(rows), **changes}


TWIN = row("twin", 0.96, 0.97, 0.98, twin=None)


def standings(*rows):
    return {each.name: each.standing for each in study.figures(made(*rows))}


def test_twins_come_first_and_methods_from_the_highest_mean_to_the_lowest():
    other = row("twin_cnn", 0.5, 0.6, twin=None)
    found = study.figures(made(row("low", 0.7, 0.7), TWIN, row("high", 0.9, 0.99, twin="twin_cnn"), other))
    assert [each.name for each in found] == ["twin", "twin_cnn", "high", "low"]
    assert [each.gap and round(each.gap.mean, 3) for each in found] == [None, None, 0.395, -0.27]  # each to its own twin


def test_figures_are_those_of_the_finished_runs():
    rows = [run(0, 0.9, seconds=2.0), missing(1, "failed", "the loss became nan"), run(2, 0.8, seconds=4.0)]
    _, found = study.figures(made(TWIN, row("bop", runs=rows)))
    assert found.sample.values == [0.9, 0.8]
    assert found.seconds == 3
    assert found.gap == difference(Sample([0.9, 0.8], 1000), Sample([0.96, 0.97, 0.98], 1000))
    assert study.left_out(made(TWIN, row("bop", runs=rows))) == ["bop, seed 1: failed, the loss became nan"]


def test_what_the_seeds_do_not_carry_is_a_tie_with_the_best():
    assert standings(TWIN, row("a", 0.90, 0.91, 0.92), row("b", 0.90, 0.91, 0.915), row("c", 0.5, 0.51, 0.52)) == {
        "twin": "",
        "a": "best",
        "b": "tie",
        "c": "worse",
    }
    assert standings(TWIN, row("a", 0.9, 0.9, 0.9)) == {"twin": "", "a": ""}  # nothing to compare


def test_more_methods_make_a_difference_harder_to_carry():
    best, second = row("a", 0.90, 0.91, 0.92), row("b", 0.87, 0.88, 0.89)
    chance = difference(Sample([0.90, 0.91, 0.92], 1000), Sample([0.87, 0.88, 0.89], 1000)).chance
    assert 0.05 / 2 > chance > 0.05 / 3
    ties = [row(f"tie{i}", 0.90, 0.91, 0.919) for i in range(2)]
    assert standings(best, second)["b"] == "worse"
    assert standings(best, second, *ties)["b"] == "tie"


def test_a_single_seed_calls_nothing_better():
    assert standings(row("a", 0.9), row("b", 0.1)) == {"a": "?", "b": "?"}
    assert standings(row("a", 0.9, 0.91), row("b", 0.1), row("c", 0.5, 0.51)) == {"a": "best", "c": "worse", "b": "?"}
    text = study_table.terminal(made(row("a", 0.9), row("b", 0.1)))
    assert "±" not in text
    assert "nothing is called better" in text


def test_the_table_fits_into_80_columns_and_shows_every_figure():
    names = ["binaryconnect_stochastic", "bnn"]
    text = study_table.terminal(
        made(TWIN, *(row(name, 0.4, 0.42, 0.44) for name in names), row("bop", refused="optimizer=adam: no"))
    )
    assert max(map(grid.length, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if line.startswith("bnn"))
    words = ["bnn", "3", "42.00", "±4.97", "2.00", "-55.00", "±4.16", "tie", "1.02k", "3.39k", "2.7", "kB", "10.0", "s"]
    assert line.split() == words
    assert "not in the table, 1:\n  bop: refused, optimizer=adam: no" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1024, "1.02k"), (4100, "4.10k"), (9996, "10.0k"), (999_499, "999k"), (41_200_000, "41.2M")],
)
def test_a_count_in_three_digits(count, text):
    assert study_table.short(count) == text


def test_of_equal_means_the_first_typed_is_the_best_and_stands_first():
    assert list(standings(TWIN, row("b", 0.9, 0.92), row("a", 0.92, 0.9)).items())[1:] == [("b", "best"), ("a", "tie")]


def test_an_interval_ends_at_0_and_at_100_percent_and_the_table_says_so():
    text = study_table.markdown(made(TWIN, row("low", 0.0, 0.1), row("high", 0.98, 1.0), row("inside", 0.5, 0.51)))
    cells = {line.split("`")[1]: [cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| `")}
    half = 100 * Sample([0.98, 1.0], 1000).half_width  # 12.7 x 1.41% / sqrt 2
    assert cells["high"][4] == f"99.00 ({99 - half:.1f}–100)"
    assert cells["low"][4] == f"5.00 (0–{5 + 5 * half:.1f})"
    assert cells["inside"][4] == "50.50 ±6.35"
    assert study_table.CUT in text
    assert study_table.CUT not in study_table.markdown(made(TWIN, row("inside", 0.5, 0.51)))
    assert study_table._gap(difference(Sample([0.0, 0.9], 10), Sample([0.9, 0.9], 10))).endswith("(-100 to +100)")


def test_a_mark_and_what_it_means_stand_together():
    worse = study_table.markdown(made(TWIN, row("a", 0.90, 0.91, 0.92), row("c", 0.5, 0.51, 0.52)))
    assert "| worse |" in worse
    assert "- worse, tie: the seeds carry a difference" in worse


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ((1, 1, 1), "of 1 + 1 + 1 epochs: 3 in all, more than the 2 of the others"),
        ((1, 0), "of 1 + 0 epoch: 1 in all, fewer than the 2 of the others"),
        ((1, 1), "of 1 + 1 epochs: 2 in all"),
    ],
)
def test_stages_that_have_another_number_of_epochs_than_the_others_say_so(epochs, words):
    (line,) = study.stage_lines(made(row("twin", 0.9, twin=None, epochs=(2,)), row("staged", 0.9, epochs=epochs)))
    assert line == f"staged trains in {len(epochs)} stages, {words}"


def test_what_runs_complain_of_is_a_line_for_each_kind():
    chance = "test accuracy 10.00% is not clearly better than naming the most frequent class each time, 10.00%, on 359 images"
    never = "the network never names 3, of which there are test images"
    notes = {"bnn": [chance], "xnor": [chance.replace("10.00%", "11.00%"), never]}
    rows = [row(name, runs=[run(0, 0.1, notes=notes[name]), run(1, 0.1)]) for name in notes]
    lines = ["bnn, xnor: not clearly better than the most frequent class", "xnor: some class is never named"]
    found = made(TWIN, *rows)
    assert study.note_lines(found) == lines
    assert set(lines) < set(study_table.terminal(found).splitlines())
    assert "notes" in study.condensed({"notes": [chance]})


@pytest.mark.parametrize(("held_out", "is_few"), [(100, False), (99, True), ("own", True), (0, False)])
def test_few_held_out_images_are_said_to_be_few(held_out, is_few):
    twin = row("twin", runs=[run(0, 0.9, images={"test": 1000, "val": 50})], twin=None)
    assert ("too few to choose well" in study.selection_line(made(twin, held_out=held_out))) == is_few


def test_the_terminal_says_what_all_rows_have_and_where_a_failure_is_written():
    typed = ["-cd", "/home/me/mine", "model=mlp", "data.root=/home/me/photos", "trainer.epochs=3"]
    found = made(TWIN, row("bop", runs=[missing(0, "failed", "nan")]), overrides=typed, data="image_folder")
    text = study_table.terminal(found)
    assert "all rows with model=mlp trainer.epochs=3 data=image_folder\n" in text
    assert "bop, seed 0: failed, nan, see studies/s/bop/seed=0/failure.txt" in " ".join(text.split())
    assert study.settings_line(made(TWIN, overrides=[], data="digits")) == "all rows with data=digits trainer.epochs=20"
    assert "failure.txt" not in study_table.markdown(found)


def test_markdown_is_a_table_with_its_command_machine_and_seeds():
    text = study_table.markdown(made(TWIN, row("reactnet", 0.9, 0.91, epochs=(6, 6, 8)), row("a_b", runs=[missing(0)])), "##")
    lines = text.splitlines()
    assert lines[:3] == ["## studies/s", "", "    bnn-study methods=a,b seeds=3"]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert {line.count("|") for line in table} == {12}
    assert table[3].startswith("| `reactnet` in 3 stages | `mlp` | 2 | 90.50 ±")
    assert "1,024 | 3,392 | 2,728 | 10.0 s |" in table[3]
    assert "- reactnet trains in 3 stages, of 6 + 6 + 8 epochs: 20 in all" in lines
    assert "- not in the table: a\\_b, seed 0: missing, not begun" in lines
    assert "seeds 0, 1, 2; 50.0 s of training in all; cpu x86\\_64, threads: 2 (Example 7); torch 2.9, Python 3.11" in text


@pytest.mark.parametrize(("held_out", "words"), [(0, "its last epoch"), ("own", "the data set's own"), (5000, "on 5,000 held-out")])
def test_the_table_says_what_chose(held_out, words):
    assert words in study_table.markdown(made(TWIN, held_out=held_out))


def test_without_a_finished_run_there_is_no_table():
    nothing = made(row("bnn", runs=[missing(0), missing(1, "busy", "another process trains it (123 on north)")]))
    assert study.figures(nothing) == []
    assert "|" not in study_table.markdown(nothing)
    assert "bnn, seed 1: busy, another process trains it (123 on north)" in study_table.terminal(nothing)


def test_the_report_of_a_studys_folder_is_its_table(tmp_path, capsys):
    for name in ("twin", "bnn"):
        (tmp_path / name / "seed=0" / ".hydra").mkdir(parents=True)
        (tmp_path / name / "seed=0" / ".hydra" / "overrides.yaml").write_text(f"- method={name}\n- seed=0\n")
        (tmp_path / name / "seed=0" / "summary.json").write_text(json.dumps(run(0, 0.5)))
    (tmp_path / "study.json").write_text(json.dumps(made(TWIN, row("bnn", 0.5))))
    found = given.read([tmp_path])
    assert [(job.name, job.status) for job in found.jobs] == [("bnn/seed=0", "finished"), ("twin/seed=0", "finished")]
    assert show.table(found)
    assert "nothing is called better" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2, "rows": []}', '{"format": 1, "held_out": 0, "rows": [{}]}'])
def test_a_study_json_of_another_kind_counts_as_none(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    assert study.load(tmp_path) is None
