"""The protocols of shortcomings and of training, from their files to what is printed."""

import json

import pytest
from omegaconf import OmegaConf

from bnn_train.cli import compose as composing
from bnn_train.config.lab_shortcomings import OVER
from bnn_train.lab import study
from bnn_train.report import laboratory

SMALL = {
    **{
        f"shortcoming_{name}": ("protocol.widths=[2]", "protocol.points=8", "protocol.samples=10", "protocol.epochs=0")
        for name in OVER
    },
    "training": ("protocol.widths=[2]", "protocol.points=8", "protocol.held_out=4", "protocol.steps=2", "protocol.samples=200"),
}
SMALL["shortcoming_depth"] += ("protocol.over=[1,2]",)
SMALL["shortcoming_batch"] += ("protocol.over=[1,10]",)


def compose(name, *overrides):
    return OmegaConf.to_object(composing.compose([f"protocol={name}", *overrides], "lab"))


@pytest.mark.parametrize("name", SMALL)
def test_a_file_of_values_is_what_its_name_says_and_its_estimators_can_be_measured(name):
    config = compose(name)
    assert config.protocol.name == name
    assert getattr(config.protocol, "experiment", name).removeprefix("shortcoming_") == name.removeprefix("shortcoming_")
    study.KINDS[type(config.protocol)].check(config)


@pytest.mark.parametrize("name", SMALL)
def test_a_study_of_two_networks_is_measured_and_printed(name, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    report = study.run(compose(name, "protocol.networks=2", *SMALL[name]), tmp_path)
    assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8")) == report
    assert [network["seed"] for network in report["found"]] == [0, 1000]
    shown = laboratory.kind(report).text(report)
    assert "2 networks" in " ".join(shown.split())
    assert "±" in shown
