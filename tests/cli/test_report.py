"""bnn-report as it is typed."""

import json
import sys

import pytest

from bnn_train.cli import report
from bnn_train.report.page import charts, html


@pytest.fixture
def typed(monkeypatch, tmp_path, capsys):
    """typed(*words): (exit code, stdout, stderr), in a folder with two runs, r and s/seed=1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for i, name in enumerate(("r", "s/seed=1")):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra" / "overrides.yaml").write_text(f"- seed={i}\n")
        (tmp_path / name / "summary.json").write_text(json.dumps({"test_accuracy": 0.5, "seconds": 1.0}))
        (tmp_path / name / "metrics.jsonl").write_text('{"epoch": 1, "test_loss": 1.0, "test_accuracy": 0.5}\n')

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["bnn-report", *words])
        try:
            report.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("paths", [["r"], ["s"], ["r", "s"], ["r", "s/seed=1"]])
def test_runs_and_sweeps_show_a_table(typed, paths):
    code, out, err = typed(*paths)
    assert (code, err) == (0, "")
    assert "50.00%" in out


def test_a_page_and_figures_are_written_and_named(typed, tmp_path, monkeypatch):
    pytest.importorskip("altair", reason="the extra [report] is not installed")
    monkeypatch.setattr(charts, "bundle", lambda: "")
    code, out, err = typed("r", "s", "--html", "page.html", "--png", "figures")
    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == ["page: page.html", "figure: figures/curves.png", "figure: figures/curves.svg"]
    assert "<h1>2 runs</h1>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r", "missing"], "path=missing: does not exist"),
        (["r", "--html", "s"], "html=s: is a folder; give the name of a file, as in page.html"),
        (["r", "--html", "no/page.html"], "html=no/page.html: the folder no does not exist; make it first"),
        (["r", "s", "--health"], "health=r: --health shows one run in the terminal; without it --html shows its layers, too"),
        (["r", "--health", "--html", "p.html"], "health=r: --health shows one run"),
        ([], "the following arguments are required: path"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(typed, tmp_path, words, said):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = typed(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_without_the_library_the_line_has_the_command(typed, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr(html, "page", lambda given: pytest.fail("nothing is made before"))
    code, out, err = typed("r", "--html", "p.html")
    assert (code, out) == (2, "")
    assert err == "error: html=p.html: needs the packages altair and vl-convert-python: pip install 'bnn-train[report]'\n"
