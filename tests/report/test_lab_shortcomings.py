import pytest
from matplotlib.image import imread

from bnn_train.config.lab_shortcomings import OVER
from bnn_train.report import lab_shortcomings
from bnn_train.report.lab_shortcomings import EXPERIMENTS, cell, picture, sentence, table

BIAS, COSINE = "relative bias", "cosine of the mean with the exact gradient"


def found(experiment="depth", networks=3):
    """Network n: tanh rises by 1 to 1 + n, identity stays, psa goes either way; another line begins later."""
    return {
        n: {
            "seed": 1000 * n,
            "experiment": experiment,
            "panels": {
                BIAS: {
                    "tanh": {"1": 1.0, "2": 1.5, "10": 2.0 + n},
                    "identity": {"1": 0.25 + n, "2": 0.25 + n, "10": 0.25 + n},
                    "psa": {"1": 0.0, "2": 0.1, "10": 0.1 * (-1) ** n},
                    "tanh, of the network that runs": {"2": 0.5, "10": 0.125},
                },
                COSINE: {"tanh": {"1": 0.9, "2": 0.5, "10": -0.25}},
            },
        }
        for n in range(networks)
    }


def test_a_cell_is_a_mean_and_half_of_its_95_percent_interval():
    assert cell([1.0, 2.0, 3.0]) == "2.00 ±2.48"  # Student's t of two degrees, 4.303, over the root of 3
    assert cell([0.25]) == "0.250"
    assert cell([-1e-9, -1e-9], signed=True) == "0.000 ±0.000"
    assert cell([0.5, 0.5], signed=True) == "+0.500 ±0.000"


def test_the_table_has_a_line_for_each_label_and_a_dash_where_it_has_no_x(columns):
    columns(140)
    shown = table(found()).splitlines()
    assert shown[0].strip() == f"{EXPERIMENTS['depth'].title}: {BIAS}"
    assert shown[1].split() == ["stochastic", "layers", "1", "2", "10", "last", "-", "first"]
    assert shown[3].split() == ["tanh", "1.00", "±0.000", "1.50", "±0.000", "3.00", "±2.48", "+2.00", "±2.48"]
    assert shown[6].split()[6:8] == ["-", "0.500"]


def test_errors_are_held_against_those_of_the_first_line_network_by_network(columns):
    columns(140)
    shown = table(found()).split(f"{BIAS}, less that of tanh in the same network\n")[1].splitlines()
    assert shown[2].split() == ["identity", "+0.250", "±2.48", "-0.250", "±2.48", "-1.75", "±0.000"]
    assert shown[3].split()[:3] == ["psa", "-1.00", "±0.000"]
    assert len(shown[4].strip()) == 0  # the dashed line is of the first itself


def test_the_sentence_says_what_the_paired_differences_say():
    said = sentence(found())
    assert "stochastic layers, 1 to 10: tanh does not differ (1.00 ±0.000 to 3.00 ±2.48)" in said  # +2 ±2.48
    assert "identity stays (1.25 ±2.48 to 1.25 ±2.48)" in said
    assert "psa does not differ" in said
    assert "tanh, of the network that runs falls (0.500 ±0.000 to 0.125 ±0.000)" in said
    assert "tanh rises" in sentence(found(networks=8))
    assert "Means over 3 networks" in said


def test_one_network_has_no_intervals_and_no_verdicts():
    assert "tanh goes (1.00 to 2.00)" in sentence(found(networks=1))
    assert "±" not in table(found(networks=1))


@pytest.mark.parametrize("experiment", ["depth", "batch"])  # with an axis of either kind
def test_a_picture_is_png_and_svg_and_always_the_same(experiment, tmp_path):
    files = picture(found(experiment), tmp_path)
    assert [file.name for file in files] == [f"shortcoming_{experiment}.png", f"shortcoming_{experiment}.svg"]
    assert imread(files[0]).std() > 0
    assert EXPERIMENTS[experiment].over in files[1].read_text(encoding="utf-8")
    first = files[1].read_bytes()
    assert picture(found(experiment), tmp_path)[1].read_bytes() == first


def test_every_experiment_of_the_laboratory_has_a_title_and_an_axis():
    assert list(EXPERIMENTS) == list(OVER)


def test_several_studies_stand_side_by_side_at_the_last_x(columns):
    columns(120)
    report = {"found": list(found().values())}
    shown = lab_shortcomings.compared({"seed=0": report, "seed=1": report}).splitlines()
    assert shown[1].split() == ["line", "seed=0", "seed=1"]
    assert shown[3].split() == ["tanh", "3.00", "±2.48", "3.00", "±2.48"]
    assert lab_shortcomings.text(report) == table(found())
