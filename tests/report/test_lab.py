import copy
from pathlib import Path

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import lab, laboratory


def block(bias=0.5, floor=0.02, cosine=0.8, half=None):
    counts = ("1", "2", "10", "100")
    return {
        "bias": [bias, half],
        "bias_floor": [floor, half],
        "std": [12.345, half],
        "rmse": {count: [0.25, half] for count in counts},
        "cosine": {count: [[cosine, half], [cosine - 0.1, half], [cosine + 0.1, half]] for count in counts},
        "improvement": {"1": [0.1, half], "100": [-0.7, half]},
    }


def report(epochs=(1, 100)):
    names = ("layer 1", "output", "all")

    def estimator(samples, backward, **values):
        return {
            "forward_passes": 2.5,
            "backward_passes": backward,
            "samples": samples,
            "matching": "tanh",
            "blocks": {name: block(**values) for name in names},
        }

    estimators = {
        "arm": estimator(1000, 0, bias=0.005),
        "tanh": estimator(1000, 1),
        "tanh_no_noise": estimator(1, 1, floor=0.0, cosine=-0.3),
    }
    estimators["arm"]["against"] = {"1": {"verdict": "worse"}, "100": {"verdict": "no difference"}}
    norms = {name: [0.1, None] for name in names}
    measured = [
        {"problem": "moons", "epoch": e, "loss": [0.6, None], "gradient_norm": norms, "estimators": estimators} for e in epochs
    ]
    protocol = {"plotted": [], "estimators": dict.fromkeys(estimators)}
    return {"kind": "measured", "networks": 1, "config": {"protocol": protocol}, "measured": measured}


def test_the_table_has_a_line_for_each_estimator_and_network(columns):
    columns(160)
    text = lab.table(report())
    assert text.count("moons, epoch 1: loss 0.600, norm of its gradient 0.100") == 1
    assert text.count("moons, epoch 100") == 1
    arm, tanh, quiet = (next(line.split() for line in text.splitlines() if line.split()[:1] == [n]) for n in NAMES)
    verdicts = ["0.800", "worse", "0.800", "no", "difference"]
    assert arm == ["arm", "2.5+0", "<0.020", "12.35", "0.250", *verdicts, "0.100", "-0.700", "0.800", "0.800"]
    assert tanh[2] == "0.500"
    assert quiet[5:9] == ["-0.300", "-", "-0.300", "-"]


def test_a_figure_of_several_networks_has_its_interval(columns):
    columns(160)
    several = report(epochs=(1,))
    several["measured"][0]["estimators"]["tanh"]["blocks"]["all"] = block(half=0.0123)
    line = next(line for line in lab.table(several).splitlines() if line.split()[:1] == ["tanh"])
    assert line.split()[2:6] == ["0.500", "±0.012", "12.35", "±0.012"]


NAMES = ("arm", "tanh", "tanh_no_noise")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_layers_stand_in_a_table_of_their_own_where_one_is_too_wide(columns, width):
    columns(width)
    study = report(epochs=(1,))
    measured = study["measured"][0]
    measured["gradient_norm"] = {name: [0.1, None] for name in [*(f"layer {i}" for i in range(1, 6)), "all"]}
    measured["estimators"] = {"exact_with_a_long_name": {**measured["estimators"]["arm"]}}
    measured["estimators"]["exact_with_a_long_name"]["blocks"] = dict.fromkeys(measured["gradient_norm"], block())
    text = lab.table(study)
    lines = [line.split() for line in text.splitlines() if "long_name" in line]
    expected = "2.5+0 0.500 12.35 0.250 0.800 worse 0.800 no difference 0.100 -0.700 0.800 0.800 0.800 0.800 0.800"
    assert [cell for line in lines for cell in line[1:]] == expected.split()
    assert len(lines) == {60: 4, 80: 3, 120: 2}[width]
    assert max(len(line) for line in [*text.splitlines(), *lab.legend(study).splitlines()]) <= width


def test_too_few_samples_leave_a_dash(columns):
    columns(160)
    short = report()
    del short["measured"][0]["estimators"]["arm"]["blocks"]["all"]["cosine"]["100"]
    line = next(line for line in lab.table(short).splitlines() if line.split()[:1] == ["arm"])
    assert line.split()[7] == "-"


def test_studies_side_by_side_are_named_by_what_differs():
    text = laboratory.compared({"psa,a=1,seed=0": report(epochs=(1,)), "psa,a=1,seed=1": report(epochs=(1,))})
    title, header, _, arm, *_ = text.splitlines()
    assert title.strip() == "moons, epoch 1: cosine of a mean of 100 samples"
    assert header.split() == ["estimator", "seed=0", "than", "ST", "seed=1", "than", "ST"]
    assert arm.split() == ["arm", "0.800", "no", "difference", "0.800", "no", "difference"]


def test_a_study_of_an_older_version_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="of another version of bnn-lab; delete the folder and run bnn-lab again"):
        laboratory.kind({"measured": []})


def test_plots_are_written_as_png_and_svg_and_the_same_study_gives_the_same_files(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files = lab.write_plots(report(epochs=(1,)), tmp_path / folder)
    names = sorted(f"{name}.{suffix}" for name in ("rmse", "cosine", "bias_std") for suffix in ("png", "svg"))
    assert sorted(file.name for file in files) == names
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_plots_of_one_layer_networks_and_single_problems(tmp_path):
    one = report(epochs=(0,))
    measured = one["measured"][0]
    del measured["gradient_norm"]["output"]
    for estimator in measured["estimators"].values():
        del estimator["blocks"]["output"]
    assert len(lab.write_plots(one, tmp_path)) == 6
    assert "moons: loss" in lab.table(one)


def of_weights():
    """A problem of two layers and one of a single one, at two sharpnesses each."""
    study = report(epochs=(1, 2, 3, 4))
    for i, place in enumerate(study["measured"]):
        del place["epoch"]
        study["measured"][i] = place = {**place, "problem": ("tanh", "quadratic")[i // 2], "sharpness": 10.0 ** (i % 2)}
        if i >= 2:
            place["gradient_norm"] = {name: place["gradient_norm"][name] for name in ("output", "all")}
    study["measured"][0]["estimators"]["arm"]["forward_passes"] = 4096
    return {**study, "networks": 10}


def test_a_study_of_weights_says_what_was_measured(columns):
    columns(160)
    study = of_weights()
    text = laboratory.kind(study).text(study)
    for place in ("tanh, sharpness 1: loss 0.600", "tanh, sharpness 10: loss", "quadratic, sharpness 1: loss"):
        assert place in text
    assert "4096+0" in text
    assert "means over 10 networks" in " ".join(text.split())
    assert "plain straight-through estimator (tanh)" in " ".join(text.split())
    assert "2 P(w = +1) - 1" in text
    assert "2 P(w = +1) - 1" not in lab.text(report())


def test_of_many_places_one_table_is_printed(columns):
    few, many = report(), of_weights()
    places = [*many["measured"], {**many["measured"][0], "sharpness": 100.0}]
    many["measured"] = [copy.deepcopy(place) for place in places]
    many["measured"][0]["estimators"]["tanh"]["against"] = {"100": {"verdict": "better"}}
    assert laboratory.summary(few, Path("lab/psa")) == lab.text(few)
    text = laboratory.summary(many, Path("my lab/weights"))
    assert len(text.splitlines()) < len(lab.text(many).splitlines()) / 3
    tanh, arm = (next(line.split() for line in text.splitlines() if line.split()[:1] == [name]) for name in ("tanh", "arm"))
    assert tanh == ["tanh", "0.800", "+", *["0.800"] * 4]
    assert arm == ["arm", *["0.800"] * 5]
    assert text.endswith("\nevery figure: bnn-report 'my lab/weights'")


def test_places_with_different_layers_stand_beside_each_other_problem_by_problem():
    study = of_weights()
    titles = ["tanh, sharpness 1", "tanh, sharpness 10", "quadratic, sharpness 1", "quadratic, sharpness 10"]
    curves = lab._curves(study, ["arm", "tanh"], lab._draw_rmse, "relative RMSE")
    assert [axis.get_title() for axis in curves.axes] == [f"{title}: all layers" for title in titles]
    assert [axis.get_title() for axis in lab._scatter(study, ["arm", "tanh"]).axes] == titles
    rows = lab._panels(study["measured"])
    assert [[(place["problem"], place["sharpness"], block) for place, block in row] for row in rows] == [
        [("tanh", 1.0, "all"), ("tanh", 10.0, "all")],
        [("quadratic", 1.0, "all"), ("quadratic", 10.0, "all")],
    ]
    assert [[block for _, block in row] for row in lab._panels(report()["measured"])] == [["layer 1", "output", "all"]] * 2
