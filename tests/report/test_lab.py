import pytest

from bnn_train.report import lab


def block(bias=0.5, floor=0.02, cosine=0.8):
    counts = ("1", "2", "10", "100")
    return {
        "bias": bias,
        "bias_floor": floor,
        "std": 12.345,
        "rmse": dict.fromkeys(counts, 0.25),
        "cosine": {count: [cosine, cosine - 0.1, cosine + 0.1] for count in counts},
        "improvement": {"1": 0.1, "100": -0.7},
    }


def report(epochs=(1, 100)):
    names = ("layer 1", "output", "all")

    def estimator(samples, backward, **values):
        return {
            "forward_passes": 2.5,
            "backward_passes": backward,
            "samples": samples,
            "blocks": {name: block(**values) for name in names},
        }

    estimators = {
        "arm": estimator(1000, 0, bias=0.005),
        "tanh": estimator(1000, 1),
        "tanh_no_noise": estimator(1, 1, floor=0.0, cosine=-0.3),
    }
    norms = dict.fromkeys(names, 0.1)
    measured = [{"problem": "moons", "epoch": e, "loss": 0.6, "gradient_norm": norms, "estimators": estimators} for e in epochs]
    return {"config": {"protocol": {"plotted": [], "estimators": dict.fromkeys(estimators)}}, "measured": measured}


def test_the_table_has_a_line_for_each_estimator_and_network(columns):
    columns(120)
    text = lab.table(report())
    assert text.count("moons, epoch 1: loss 0.6000, norm of its gradient 0.1000") == 1
    assert text.count("moons, epoch 100") == 1
    arm, tanh, quiet = (next(line.split() for line in text.splitlines() if line.split()[:1] == [n]) for n in NAMES)
    assert arm == ["arm", "2.5+0", "<0.020", "12.35", "0.250", "0.800", "0.800", "0.100", "-0.700", "0.800", "0.800"]
    assert tanh[2] == "0.500"
    assert quiet[5:7] == ["-0.300", "-0.300"]


NAMES = ("arm", "tanh", "tanh_no_noise")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_layers_stand_in_a_table_of_their_own_where_one_is_too_wide(columns, width):
    columns(width)
    study = report(epochs=(1,))
    measured = study["measured"][0]
    measured["gradient_norm"] = dict.fromkeys([f"layer {i}" for i in range(1, 6)] + ["all"], 0.1)
    measured["estimators"] = {"exact_with_a_long_name": {**measured["estimators"]["arm"]}}
    measured["estimators"]["exact_with_a_long_name"]["blocks"] = dict.fromkeys(measured["gradient_norm"], block())
    text = lab.table(study)
    lines = [line.split() for line in text.splitlines() if "long_name" in line]
    expected = "2.5+0 0.500 12.35 0.250 0.800 0.800 0.100 -0.700 0.800 0.800 0.800 0.800 0.800"
    assert [cell for line in lines for cell in line[1:]] == expected.split()
    assert len(lines) == {60: 3, 80: 2, 120: 1}[width]
    assert max(len(line) for line in [*text.splitlines(), *lab.legend().splitlines()]) <= width


def test_too_few_samples_leave_a_dash():
    short = report()
    del short["measured"][0]["estimators"]["arm"]["blocks"]["all"]["cosine"]["100"]
    line = next(line for line in lab.table(short).splitlines() if line.split()[:1] == ["arm"])
    assert line.split()[6] == "-"


def test_plots_are_written_as_png_and_svg_and_the_same_study_gives_the_same_files(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files = lab.write_plots(report(), tmp_path / folder)
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
