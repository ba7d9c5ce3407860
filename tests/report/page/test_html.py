"""The page: whole, in order, with the terminal's figures, escaped, small, asking for nothing."""

import json
import re
from html.parser import HTMLParser

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import given, sweep
from bnn_train.report.page import charts, html, lines, matrix

pytest.importorskip("altair", reason="the extra [report] is not installed")
VOID = {"meta", "link", "img", "br", "input"}
EVIL = "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """Tables as lists of rows of texts, headings, images; fails where tags do not close."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.headings, self.images, self.tags, self.text = [], [], [], [], ""
        self.open, self.ids = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        if tag == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.text += data
        if any(tag in ("td", "th") for tag in self.open):
            self.tables[-1][-1][-1] += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


@pytest.fixture(autouse=True)
def small_bundle(monkeypatch):
    """Vega takes two seconds and 0.9 MB: one test has it."""
    real = charts.bundle
    monkeypatch.setattr(charts, "bundle", lambda: "/* vega */")
    return real


@pytest.fixture
def folder(tmp_path, write_run):
    """A sweep of two settings, two seeds each."""
    for ste, shares in (("tanh", (0.8, 0.9)), ("clipped", (0.5, 0.7))):
        for seed, share in enumerate(shares):
            write_run(tmp_path / "s" / f"{ste}{seed}", [f"ste={ste}", f"seed={seed}"], accuracy=share)
    return tmp_path / "s"


def page_of(*folders):
    return html.page(given.read(folders))


def panels(page):
    return {panel["name"]: panel for panel in json.loads(re.search(r'id="panels">(.*?)</script>', page)[1])}


def test_the_parts_are_there_in_their_order(folder):
    page = Page(page_of(folder))
    headings = ["Ranking", "What differs", "Loss and accuracy", "Classes and layers", "Which classes it confuses"]
    headings += ["What it is surest of and wrong about", "Layers", "Health of the binary layers", "Time and machine"]
    assert page.headings[1:] == headings
    assert len(set(page.ids)) == len(page.ids)
    assert "4 runs on digits, 2 settings: 4 finished." in page.text


def test_the_ranking_has_the_figures_of_the_terminal_and_an_interval(folder):
    table = Page(page_of(folder)).tables[0]
    terminal = [line.split() for line in sweep.table(sweep.read_jobs(folder), "s").splitlines()]
    rows = [[cell for cell in row if not cell.startswith("±")] for row in table[1:]]
    assert [row[:6] for row in rows] == [row[:6] for row in terminal if row and row[0] in ("1", "2")]
    assert table[0] == ["rank", "ste", "runs", "mean", "std", "95% interval", "best", "time"]
    assert table[1][5] == "± 63.53%"  # 12.7062 x 7.07% / sqrt 2
    assert page_of(folder).count('<tr class="best">') == 1


def test_single_runs_have_no_interval_and_no_band(tmp_path, write_run):
    page = page_of(write_run(tmp_path / "a", ["ste=a"]), write_run(tmp_path / "b", ["ste=b"]))
    assert "±" not in Page(page).text
    assert "One run each, so there is no band." in page
    assert [len(chart["layer"]) for chart in panels(page)["training"]["charts"]] == [2, 2]  # lines and points


def test_what_differs_is_said_by_setting(folder):
    assert Page(page_of(folder)).tables[2] == [
        ["setting", "seed", "ste.name"],
        ["ste=tanh", "0, 1", "tanh"],
        ["ste=clipped", "0, 1", "clipped"],
    ]


def test_a_sweep_shows_its_best_run_and_named_runs_are_shown_each(folder):
    assert "tanh1: of the setting that ranks first, the run with the highest test accuracy." in page_of(folder)
    page = page_of(folder / "tanh0", folder / "clipped0")
    assert [heading for heading in Page(page).headings if heading.startswith("Classes and layers")] == [
        "Classes and layers: tanh0",
        "Classes and layers: clipped0",
    ]
    assert set(panels(page)) == {"training", *(f"run{i}-{kind}" for i in (0, 1) for kind in ("confusion", "health"))}


def test_a_single_run_shows_its_result_and_all_splits_together(tmp_path, write_run):
    page = page_of(write_run(tmp_path / "r", ["ste=a"], splits=("train", "val", "test")))
    training = panels(page)["training"]
    assert [series["label"] for series in training["series"]] == ["train", "val", "test"]
    assert training["choices"] == []
    assert "Result" in Page(page).headings
    assert ["total"] in [row[:1] for table in Page(page).tables for row in table]


def test_held_out_images_are_shown_first_where_all_choices_are_there(tmp_path, write_run):
    runs = [write_run(tmp_path / name, [f"ste={name}"], splits=("train", "val", "test")) for name in "ab"]
    training = panels(page_of(*runs))["training"]
    assert training["choices"][training["chosen"]] == "val"


def test_every_name_is_text(tmp_path, write_run):
    run = write_run(tmp_path / "r", [f"ste={EVIL}"], classes=(EVIL, '"><img src=x>', "&amp;"), notes=[EVIL], device=EVIL)
    page = page_of(run, write_run(tmp_path / "o", ["ste=b"]))
    assert "alert(1)</script>" not in page
    assert "<img src=x>" not in page
    found = Page(page)
    assert EVIL in found.text
    assert "&amp;" in [row[0] for table in found.tables for row in table]
    assert panels(page)["run0-confusion"]["classes"] == [EVIL, '"><img src=x>', "&amp;"]
    assert found.tags.count("script") == 3


def test_a_template_s_sign_in_a_name_is_left_alone(tmp_path, write_run):
    assert "{{page.js}}" in Page(page_of(write_run(tmp_path / "r", ["ste={{page.js}}"]))).text


def test_images_have_words_for_those_who_do_not_see_them(tmp_path, write_run):
    images = Page(page_of(write_run(tmp_path / "r", classes=("cat", "dog")))).images
    assert sorted(image["alt"] for image in images)[0] == "test image 0: cat, taken for dog with 100.0%"
    assert len(images) == 3
    assert all(image["src"].startswith("data:image/png") for image in images)


def test_the_page_asks_for_nothing_and_says_nothing_of_the_machine(folder):
    page = page_of(folder)
    assert "default-src 'none'" in page
    assert set(re.findall(r"\w+://[^'\"\s<]*", page)) == set()
    assert "somebody" not in page
    assert str(folder.parent.parent) not in page
    assert not re.search(r"<link[^>]+stylesheet|<script[^>]+src=|@import|url\(", page)


def test_runs_that_lack_things_have_a_page_all_the_same(tmp_path, write_run):
    old = write_run(tmp_path / "old", ["ste=a"], images=None, health=None)
    for name in ("network.json", "times.jsonl", ".hydra/config.yaml"):
        (old / name).unlink()
    (old / "summary.json").write_text('{"test_accuracy": 0.5, "seconds": 2.0}')
    going = write_run(tmp_path / "going", ["ste=b"], finished=False, epochs=1, health=None)
    begun = write_run(tmp_path / "begun", ["ste=c"], finished=False, epochs=0, health=None)
    (begun / "network.json").unlink()
    for paths in ([old], [going], [begun], [old, going, begun]):
        Page(page_of(*paths))
    assert "No epoch has been measured yet." in page_of(begun)
    assert "what it had reached, epoch 1" in page_of(going)
    assert "has not stored the images" in page_of(old)
    failed = write_run(tmp_path / "failed", ["ste=d"], finished=False)
    (failed / "failure.txt").write_text("ValueError: <b>no</b>\n")
    assert "failed: ValueError: <b>no</b>" in Page(page_of(old, failed)).text


@pytest.fixture
def staged(tmp_path, write_run):
    """A run that was stopped in its second stage of three, of which nothing but the estimator differs."""
    run = tmp_path / "staged"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text("- seed=0\n")
    each = [(["ste=none"], "none"), ([], "tanh"), ([], "tanh")]
    planned = [{"overrides": added, "config": {"data": {"name": "digits"}, "ste": {"name": ste}}} for added, ste in each]
    (run / "stages.json").write_text(json.dumps({"overrides": ["seed=0"], "stages": planned}))
    for number, (added, _) in enumerate(each[:2], start=1):
        folder = write_run(run / f"stage{number}", accuracy=0.9 / number, overrides=(), finished=number == 1, epochs=2)
        for file in (folder / ".hydra").iterdir():
            file.unlink()
        (folder / ".hydra").rmdir()
        if number == 1:
            summary = json.loads((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(json.dumps({**summary, "overrides": ["seed=0", *added]}))
    return run


def test_stages_named_one_by_one_are_told_apart_in_their_order(staged):
    page = page_of(staged / "stage2", staged / "stage1")
    assert [series["label"] for series in panels(page)["training"]["series"]] == ["stage1", "stage2"]
    assert [["setting", "ste.name"], ["stage1", "none"], ["stage2", "tanh"]] in Page(page).tables
    assert "stage1" in sweep.table(given.read([staged / "stage2", staged / "stage1"]).jobs, "x")


def test_a_run_stopped_in_a_stage_shows_where_it_is_as_the_terminal_does(staged):
    page = page_of(staged)
    assert "in stage 2 of 3, after epoch 2: train 45.00%, test 45.00%." in Page(page).text
    assert "not finished, in stage 2 of 3" in page
    assert len(panels(page)["training"]["series"]) == 2  # the stage's own curves


def test_a_finished_run_in_stages_has_their_table(tmp_path, write_run):
    stages = [{"name": f"stage{n}", "bits": "W1A1", "epochs": n, "test_accuracy": 0.5, "seconds": 2.0} for n in (1, 2)]
    page = Page(page_of(write_run(tmp_path / "r", ["ste=a"], stages=stages)))
    assert [row for table in page.tables if table[0][0] == "stage" for row in table[1:]] == [
        ["1", "W1A1", "new weights", "1", "50.00%", "2.0 s"],
        ["2", "W1A1", "new weights", "2", "50.00%", "2.0 s"],
    ]


def test_sixty_runs_of_two_hundred_epochs_and_a_hundred_classes_stay_small(tmp_path, write_run):
    names = [f"class {i}" for i in range(100)]
    for i in range(60):
        best = {"classes": names, "images": (3, 64, 64), "health": 20} if i == 59 else {"images": None, "health": None}
        write_run(tmp_path / "s" / f"{i:02}", [f"lr={i + 1}"], accuracy=i / 60, epochs=200, splits=("train", "val", "test"), **best)
    page = page_of(tmp_path / "s")
    assert len(page) < 2_000_000  # with 0.9 MB of Vega below 3 MB
    training = panels(page)["training"]
    assert len(training["columns"]["x"]) <= 12_000
    assert [series["colour"] for series in training["series"]] == [*charts.COLOURS, *[charts.OTHERS] * 50]
    assert training["series"][0]["label"] == "lr=60"
    assert not any(layer["mark"]["type"] == "text" for layer in panels(page)["run0-confusion"]["charts"][0]["layer"])


def test_more_classes_than_a_matrix_shows_have_the_table_alone(tmp_path, write_run):
    page = page_of(write_run(tmp_path / "r", classes=[str(i) for i in range(matrix.MOST + 1)]))
    assert "run0-confusion" not in panels(page)
    assert "Accuracy of each class" in page


def test_colours_can_be_seen_on_light_and_on_dark_pages():
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one, other):
        low, high = sorted([light(one), light(other)])
        return (high + 0.05) / (low + 0.05)

    hues = [charts.hue(i / 19) for i in range(20)]
    for colour in (*charts.COLOURS, charts.OTHERS, *hues):
        assert min(contrast(colour, "#ffffff"), contrast(colour, "#14171c")) >= 3, colour
    style = (html._TEMPLATE / "page.css").read_text()
    for theme in re.findall(r":root \{[^}]*--page[^}]*\}", style):
        named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", theme))
        for ink in ("ink", "quiet", "link", "bad"):
            if ink in named and "page" in named:
                assert contrast(named[ink], named["page"]) >= 4.5, (ink, theme)


def test_the_real_page_has_vega_and_is_below_a_megabyte_and_a_half(folder, small_bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(charts, "bundle", small_bundle)
    html.write(given.read([folder]), tmp_path / "p.html")
    size = (tmp_path / "p.html").stat().st_size
    assert 500_000 < size < 1_500_000
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert text.count("</script>") == 3
    assert "vegaEmbed" in text


def test_without_the_libraries_it_says_how_to_get_them(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "altair", None)
    with pytest.raises(ConfigError, match=r"needs the packages altair and vl-convert-python: pip install 'bnn-train\[report\]'"):
        html.write(given.read([folder]), tmp_path / "p.html")
    assert not (tmp_path / "p.html").exists()


def test_a_hue_for_each_layer_of_a_deep_network():
    names = [f"layer{i}" for i in range(20)]
    assert len({series.colour for series in charts.series(names, in_order=True)}) == 20
    assert [series.colour for series in charts.series(names[:3], in_order=True)] == list(charts.COLOURS[:3])


@pytest.fixture
def methods(tmp_path, write_run):
    """A study: xnor is best on held-out images, bnn on test images."""
    rows = []
    for name, test, val in (("twin", 0.98, 0.97), ("xnor", 0.7, 0.9), ("bnn", 0.8, 0.6)):
        row = {"name": name, "method": None if name == "twin" else name, "twin": None if name == "twin" else "twin", "model": "mlp"}
        rows.append({**row, "epochs": [3], "overrides": [], "refused": "", "runs": []})
        for seed in (0, 1):
            overrides = [f"method={name}", f"seed={seed}"]
            shown = {"splits": ("train", "val", "test"), "val_accuracy": val}
            write_run(tmp_path / "q" / name / f"seed={seed}", overrides, accuracy=test, **shown)
            figures = {"test_accuracy": test + seed / 100, "images": {"test": 100, "val": 50}, "seconds": 2.0, "device": "cpu"}
            network = {"binary_macs": 1024, "real_macs": 0, "bytes": 2728}
            run = {"seed": seed, "status": "finished", "reason": "", "network": network, "versions": {"torch": "2", "python": "3"}}
            rows[-1]["runs"].append({**run, **figures})
    about = {"format": 1, "title": "studies/q", "command": "bnn-study", "seeds": [0, 1], "held_out": 50, "rows": rows}
    (tmp_path / "q" / "study.json").write_text(json.dumps(about))
    return tmp_path / "q"


def test_the_page_of_a_study_begins_with_its_own_table(methods):
    page = page_of(methods)
    found = Page(page)
    assert found.headings[1] == "Methods and their twin"
    header, *rows = found.tables[0]
    assert header == ["row", "n", "mean", "std", "gap to twin", "beside the best", "binary MACs", "real MACs", "bytes", "time"]
    assert [row[0] for row in rows] == ["twin", "bnn", "xnor"]
    assert rows[1][1:6] == ["2", "80.50 ±6.35", "0.71", "-18.00 ±3.04", "best"]
    assert rows[1][6:9] == ["1,024", "0", "2,728"]
    for note in ("chosen on 50 held-out training images, of which one is 2.0%: too few", "worse, tie: ", "all rows with "):
        assert note in found.text
    assert "By val accuracy" not in found.text
    assert "Ranking" not in found.headings
    assert "ranks first" not in found.text


def test_the_curves_of_a_study_have_the_names_of_its_rows(methods):
    page = page_of(methods)
    assert [series["label"] for series in panels(page)["training"]["series"]] == ["twin", "bnn", "xnor"]
    assert "bnn/seed=0: of the method that stands first, its first run." in page
    differ = next(table for table in Page(page).tables if table[0][0] == "setting")
    assert [row[0] for row in differ[1:]] == ["twin", "bnn", "xnor"]


def study():
    """lab.json of two estimators in two networks."""
    block = {
        "bias": [0.1, 0.05],
        "bias_floor": [0.2, 0.01],
        "std": [1.5, 0.1],
        "rmse": {"1": [1.5, 0.1], "100": [0.2, 0.01]},
        "cosine": {"1": [[0.5, 0.125], [0.2, 0.1], [0.8, 0.1]], "100": [[0.9, None], [0.8, None], [1, None]]},
    }
    block["improvement"] = {"1": [0.5, 0.1], "100": [0.9, 0.1]}
    one = {
        "forward_passes": 1,
        "backward_passes": 1,
        "samples": 100,
        "matching": "tanh",
        "blocks": {"all": block, "layer 1": block},
    }
    other = {**one, "blocks": {"all": {**block, "bias": [0.5, 0.1]}, "layer 1": block}}
    measured = [
        {
            "problem": "moons",
            "epoch": epoch,
            "loss": [0.7, 0.01],
            "gradient_norm": {"all": [0.1, 0.02], "layer 1": [0.1, 0.02]},
            "estimators": {"arm": one, "tanh": other},
        }
        for epoch in (1, 20)
    ]
    protocol = {"plotted": None, "estimators": {"arm": {}, "tanh": {}}}
    return {"kind": "measured", "networks": 10, "config": {"protocol": protocol}, "seconds": 9.0, "measured": measured}


def test_a_study_has_its_tables_and_three_charts(tmp_path):
    (tmp_path / "lab.json").write_text(json.dumps(study()))
    page = page_of(tmp_path)
    found = Page(page)
    assert found.headings[1:] == [
        "Estimators",
        "moons, epoch 1: loss 0.700 ±0.010, norm of its gradient 0.100 ±0.020",
        "moons, epoch 20: loss 0.700 ±0.010, norm of its gradient 0.100 ±0.020",
        "Averaged samples",
        "Bias and deviation",
        "Time",
    ]
    assert found.tables[0][1][:4] == ["arm", "1+1", "<0.200", "1.50 ±0.100"]
    columns = panels(page)["samples"]["columns"]
    assert [columns[name][0] for name in ("x", "l", "a", "a0", "a1")] == [1, 1.5, 0.5, 0.375, 0.625]
    assert [len(panel["charts"]) for panel in panels(page).values()] == [2, 1]
    assert panels(page)["samples"]["choices"] == ["moons, epoch 1", "moons, epoch 20"]
    marks = panels(page)["bias"]["columns"]
    assert list(zip(marks["y"], marks["shows"], strict=True)) == [(0.2, "no"), (0.5, "yes")] * 2


def test_the_charts_are_valid_without_a_named_schema(folder):
    for panel in panels(page_of(folder)).values():
        for chart in panel["charts"]:
            assert chart["width"] == "container"
            assert "$schema" not in chart
            assert chart["description"]


def test_nothing_measured_has_no_panel():
    assert lines.training([]) is None
