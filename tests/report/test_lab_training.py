from matplotlib.image import imread

from bnn_train.report import lab_training
from bnn_train.report.lab_training import picture, sentence, table

PLACES = ("start", "middle", "end")
OUTCOMES = ("training loss", "held-out loss", "held-out accuracy")


def found(networks=2):
    """Network n: psa points better by 0.1 and comes to an accuracy better by 0.05."""

    def trained(better, n):
        return {"lr": 0.1, "training loss": 0.3, "held-out loss": 0.4, "held-out accuracy": 0.8 + better / 2 + 0.01 * n}

    def measured(better, n):
        cosine = dict.fromkeys(PLACES, 0.5 + better)
        return {**trained(better, n), "cosine": {"1": cosine, "100": dict.fromkeys(PLACES, 0.8 + better)}}

    rhos = {count: {**dict.fromkeys(PLACES, 0.25), "mean": 0.5} for count in ("1", "100")}
    return {
        n: {
            "estimators": {"tanh": measured(0, n), "psa": measured(0.1, n)},
            "exact": trained(0.2, n),
            "spearman": dict.fromkeys(OUTCOMES, rhos),
        }
        for n in range(networks)
    }


def test_the_table_shows_directions_outcomes_and_their_correlation(columns):
    columns(250)
    shown = table(found())
    tanh = next(line for line in shown.splitlines() if line.startswith("tanh")).split()
    assert tanh[1:3] == ["0.500", "±0.000"]
    assert tanh[-3:] == ["0.805", "±0.064", "0.1"]  # Student's t of one degree, 12.71, times 0.005
    agreement = next(line for line in shown.splitlines() if line.startswith("held-out accuracy")).split()
    assert agreement[3:] == ["0.250", "±0.000"] * 3 + ["0.500", "±0.000"]


def test_verdicts_against_straight_through_stand_beside_the_accuracy(columns):
    columns(250)
    verdict = {"difference": 0.05, "half_width": 0.01, "chance": 0.001, "verdict": "better"}
    shown = table(found(), {"matching": "tanh", "verdicts": {"psa": verdict}})
    lines = {line.split()[0]: line for line in shown.split("\n\n")[0].splitlines() if line.strip()}
    assert lines["psa"].split()[-4:] == ["+0.050", "±0.010", "better", "0.1"]
    assert lines["tanh"].split()[-2:] == ["-", "0.1"]
    assert "less that of tanh" in " ".join(shown.split())
    assert "than ST" not in table(found())


def test_the_sentence_names_each_outcome_and_one_network_has_no_intervals():
    for outcome in OUTCOMES:
        assert f"{outcome}: 0.500 ±0.000 for a mean of 1, 0.500 ±0.000 for a mean of 100" in sentence(found())
    assert "±" not in table(found(1))


def test_the_picture_is_written_as_png_and_svg_and_always_the_same(tmp_path):
    files = picture(found(), tmp_path)
    assert [file.name for file in files] == ["training.png", "training.svg"]
    assert imread(files[0]).std() > 0
    assert "rank correlation 0.500" in files[1].read_text(encoding="utf-8")
    first = files[1].read_bytes()
    assert picture(found(), tmp_path)[1].read_bytes() == first


def test_several_studies_stand_side_by_side(columns):
    columns(120)
    report = {"found": list(found().values()), "against": {}}
    shown = lab_training.compared({"steps=1": report, "steps=2": report}).splitlines()
    assert shown[1].split() == ["trained", "by", "steps=1", "steps=2"]
    assert shown[5].split() == ["psa", "0.855", "±0.064", "0.855", "±0.064"]
    assert lab_training.text(report) == table(found())
