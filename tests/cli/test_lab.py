import json

import pytest

SMALL = ("protocol.networks=1", "protocol.widths=[2]", "protocol.points=8", "protocol.epochs=[2]", "protocol.samples=20")


def test_a_study_from_the_command_line(command, tmp_path):
    result = command(*SMALL, module="bnn_train.cli.lab")
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    (folder,) = (tmp_path / "lab").iterdir()
    assert folder.name == "psa,protocol.epochs=[2],protocol.points=8,protocol.samples=20,protocol.widths=[2]"
    for piece in ("moons, epoch 2: loss", "disarm", "cosine", "passes: forward + backward", "saved in lab/psa,", "bias_std.svg"):
        assert piece in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        *(".hydra", "bias_std.png", "bias_std.svg", "config.json", "cosine.png", "cosine.svg", "lab.json", "lab.log", "networks"),
        *("rmse.png", "rmse.svg", "seconds.json"),
    ]
    before = json.loads((folder / "lab.json").read_text())
    parts = {path: path.stat().st_mtime_ns for path in (folder / "networks").iterdir()}
    again = command(*SMALL, "protocol.plotted=[arm]", f"hydra.run.dir='{folder}'", module="bnn_train.cli.lab")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "networks").iterdir()} == parts
    assert json.loads((folder / "lab.json").read_text())["measured"] == before["measured"]


def test_several_studies_have_a_folder_each_and_end_in_one_table(command, tmp_path):
    """Also where they differ in the number of networks alone, of which a study alone would take up more."""
    small = ("protocol=single_layer", "protocol.problems=[quadratic]", "protocol.samples=200")
    result = command("-m", "protocol.networks=1,2", *small, module="bnn_train.cli.lab")
    assert result.returncode == 0, result.stderr
    last = result.stdout.split("quadratic: cosine of a mean of 100 samples\n")[1].splitlines()
    assert " ".join(f"{last[0]} {last[1]}".split()) == "protocol. than protocol. estimator networks=1 ST networks=2 than ST"
    assert last[3].split()[0] == "exact"
    folders = {json.loads(file.read_text())["networks"]: file.parent.name for file in (tmp_path / "lab").glob("*/lab.json")}
    rest = "protocol.problems=[quadratic],protocol.samples=200"
    assert folders == {number: f"single_layer,protocol.networks={number},{rest}" for number in (1, 2)}
    assert "Figures are of one network. " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["protocol=xyz"], 2, "error: protocol=xyz: must be one of mirror, psa, shortcoming_batch"),
        (["protocol.sample=3"], 2, "error: protocol.sample=3: there is no such key; did you mean protocol.samples?"),
        (["+protocol.sample=3"], 2, "error: protocol.sample=3: there is no such key; did you mean protocol.samples?"),
        (["protocol.samples=1"], 2, "error: protocol.samples=1: must be a whole number of at least 2"),
        (["protocol.estimators.tanh.clip=1"], 2, "error: protocol.estimators.tanh.clip=1: there is no such key; to add it, type +"),
        (["+protocol.estimators.x={stochastic: true}"], 2, "error: protocol.estimators.x.name=null: needs an estimator"),
        (["~protocol.estimators.arm"], 2, "error: protocol.plotted=arm: is not among protocol.estimators; [] shows all"),
        (["-m", "protocol.samples=20,1"], 2, "error: protocol.samples=1: must be a whole number of at least 2"),
        (["-m", "seed=interval(0,5)"], 2, "error: seed=interval(0,5): is for a search; type 2,5 or range(2,6)"),
        (["-m", "protocol=single_layer,xyz"], 2, "error: protocol=xyz: must be one of mirror, psa, shortcoming_batch"),
        (["-m", "seed=0,1", "~protocol.estimators.arm"], 2, "error: protocol.plotted=arm: is not among protocol.estimators"),
        (["hydra.run.dir=/proc/x"], 2, "error: hydra.run.dir=/proc/x: cannot be written to"),
        (
            ["protocol.samples=many"],
            2,
            "error: protocol.samples=many: must be a whole number of at least 2",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(command, arguments, code, message, tmp_path):
    result = command(*arguments, module="bnn_train.cli.lab")
    lines = (result.stdout + result.stderr).strip().splitlines()
    assert result.returncode == code
    assert len(lines) == 1
    assert lines[0].startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_help_lists_protocols_and_keys(command):
    result = command("--help", module="bnn_train.cli.lab")
    assert result.returncode == 0
    for piece in ("single_layer", "protocol=psa", "protocol    mirror, psa, shortcoming_batch"):
        assert piece in result.stdout
    keys = command("protocol=psa", "--help", module="bnn_train.cli.lab").stdout
    for piece in ("protocol.samples=20000  (whole number, [2, inf))", "reinforce_baseline", "of each estimator"):
        assert piece in keys
