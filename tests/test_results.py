"""RESULTS.md is what scripts/results.py would write from results/."""

import json
from pathlib import Path

import pytest

import results
from bnn_train.report import study

ROOT = Path(__file__).parent.parent
KEPT = sorted((ROOT / "results").glob("*.json"))


def test_the_page_is_up_to_date():
    assert (ROOT / "RESULTS.md").read_text(encoding="utf-8") == results.page(), "run python scripts/results.py"


@pytest.mark.parametrize("file", KEPT, ids=[file.stem for file in KEPT])
def test_a_kept_study_has_its_command_and_figures_and_nothing_of_a_machine(file):
    text = file.read_text(encoding="utf-8")
    found = study.load_file(file)
    assert found is not None
    assert results.written(results.kept(found, found["title"])) == text  # nothing is left to take away
    assert found["command"].startswith("bnn-study ")
    assert study.figures(found)
    for row in found["rows"]:
        for run in study.finished(row):
            assert run["versions"]["torch"]
    assert len(text) < 50_000


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("bnn-study methods=bnn data=mnist data.root=/home/me/data", "bnn-study methods=bnn data=mnist data.root=FOLDER"),
        ("bnn-study methods=bnn data.cache_dir=/tmp/x seeds=2", "bnn-study methods=bnn seeds=2"),
        ("bnn-study -cd /home/me/my 'model.hidden=[8,8]'", "bnn-study -cd my 'model.hidden=[8,8]'"),
        ("bnn-study 'plugins=[/home/me/net.py,other]'", "bnn-study 'plugins=[net.py,other]'"),
        ("bnn-study init_from=/home/me/run methods=mine/none", "bnn-study init_from=FOLDER methods=mine/none"),
    ],
)
def test_a_command_is_shown_without_a_machines_paths(command, others):
    assert results.for_others(command)[0] == others


def test_a_reason_is_kept_without_them_too():
    row = {"name": "twin", "method": None, "twin": None, "model": "mlp", "epochs": [1], "refused": "data.root=/home/me: no"}
    found = {"format": 1, "title": "x", "command": "bnn-study data.root=/home/me", "rows": [{**row, "overrides": [1], "runs": []}]}
    kept = results.kept(found, "Title")
    assert kept["title"] == "Title"
    assert kept["rows"] == [{**row, "refused": "data.root=FOLDER: no", "runs": []}]
    assert json.loads(results.written(kept)) == kept


def test_who_trains_a_run_is_not_kept():
    row = {"name": "twin", "method": None, "twin": None, "model": "mlp", "epochs": [1], "refused": ""}
    runs = [{"seed": 0, "status": "busy", "reason": "another process trains it (1234 on north)"}]
    kept = results.kept({"title": "x", "command": "bnn-study", "rows": [{**row, "runs": runs}]}, "Title")
    assert kept["rows"][0]["runs"] == [{"seed": 0, "status": "busy", "reason": ""}]


def test_words_stand_with_the_study_that_they_are_of(tmp_path):
    (tmp_path / "a.json").write_text(KEPT[0].read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "words.md").write_text("Of all.\n\n## a\n\nOf one.\n", encoding="utf-8")
    assert results.words("## a\nOne.\n## b\nTwo.\n") == {"": "", "a": "One.", "b": "Two."}
    page = results.page(tmp_path)
    title = json.loads(KEPT[0].read_text(encoding="utf-8"))["title"]
    assert f"Of all.\n\n## {title}\n\nOf one.\n\n    bnn-study " in page
    (tmp_path / "words.md").write_text("## c\n\nOf none.\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"words on c, and there is no results/c\.json"):
        results.page(tmp_path)


def test_it_says_what_it_has_written(tmp_path, monkeypatch, capsys):
    source = tmp_path / "study"
    source.mkdir()
    found = study.load_file(KEPT[0])
    rows = [{**row, "overrides": []} for row in found["rows"]]
    (source / "study.json").write_text(json.dumps({**found, "rows": rows}), encoding="utf-8")
    results.add(source, tmp_path / "x.json", "Title")
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / 'x.json'}"
    monkeypatch.setattr("sys.argv", ["results.py"])
    monkeypatch.setattr(results.files, "write_text", lambda text, path: None)
    results.main()
    assert capsys.readouterr().out == "written: RESULTS.md\n"


def test_a_study_without_a_finished_run_is_not_kept(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no study\.json"):
        results.add(tmp_path, tmp_path / "x.json", "Title")
