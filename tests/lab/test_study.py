import json

import pytest
import torch
from omegaconf import OmegaConf

from bnn_train.binary import ste
from bnn_train.cli import compose as composing
from bnn_train.cli.compose import CONFIGS
from bnn_train.config.lab import PROTOCOLS
from bnn_train.config.protocol import SignsConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import estimators, signs, study

SMALL = ("protocol.widths=[2,2]", "protocol.points=8", "protocol.epochs=[0,3]", "protocol.samples=150")


def compose(*overrides):
    return OmegaConf.to_object(composing.compose(["protocol.networks=1", *overrides], "lab"))


def without_time(report):
    return {key: value for key, value in report.items() if key != "seconds"}


def test_a_study_holds_every_estimator_layer_and_measure(tmp_path):
    config = compose(*SMALL)
    report = study.run(config, tmp_path)
    assert json.loads((tmp_path / "lab.json").read_text()) == report
    assert [(m["problem"], m["epoch"]) for m in report["measured"]] == [("moons", 0), ("moons", 3)]
    for measured in report["measured"]:
        assert list(measured["estimators"]) == list(config.protocol.estimators)
        for label, estimator in measured["estimators"].items():
            assert list(estimator["blocks"]) == ["layer 1", "layer 2", "output", "all"], label
            assert estimator["samples"] == (150 if config.protocol.estimators[label].stochastic or label in LOSS_ALONE else 1)
            assert all(len(block["cosine"]) >= 15 for block in estimator["blocks"].values())
        exact = measured["estimators"]["exact"]["blocks"]["all"]
        assert exact["bias"] == [pytest.approx(0, abs=1e-6), None]
        assert exact["improvement"]["1"] == [pytest.approx(1), None]
    same = report["measured"][1]["estimators"]
    tanh, logistic = (same[name]["blocks"]["layer 1"]["rmse"] for name in ("tanh", "logistic"))
    assert {count: mean for count, (mean, _) in tanh.items()} == pytest.approx(
        {count: mean for count, (mean, _) in logistic.items()}, rel=1e-4
    )
    assert same["clipped"]["blocks"] == same["uniform"]["blocks"] == same["hard_st"]["blocks"]


LOSS_ALONE = ("reinforce", "reinforce_baseline", "arm", "disarm", "psa")


def test_a_study_that_was_stopped_goes_on_part_by_part_to_the_same_numbers(tmp_path, monkeypatch):
    config = compose(*SMALL)
    whole = without_time(study.run(config, tmp_path / "whole"))
    measure, done = signs._measure, []

    def stop_at_the_third(config, part, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.name)
        return measure(config, part, *rest)

    monkeypatch.setattr(signs, "_measure", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "lab.json").exists()
    before = json.loads((tmp_path / "stopped" / "seconds.json").read_text())
    kept = len(list((tmp_path / "stopped" / "networks" / "0").glob("*.json")))
    done[:] = []
    monkeypatch.setattr(signs, "_measure", lambda config, part, *rest: done.append(part.name) or measure(config, part, *rest))
    again = study.run(config, tmp_path / "stopped")
    assert without_time(again) == whole
    assert again["seconds"] > before > 0
    assert kept == 2
    assert len(done) == len(list(signs.parts_of(config))) - 2  # what was there was not measured again
    assert [path.name for path in (tmp_path / "stopped" / "networks").iterdir()] == ["0.json"]


def test_networks_are_the_same_in_one_process_and_in_two_and_more_are_added_to_those_that_are_there(tmp_path, monkeypatch):
    small = (*SMALL[:2], "protocol.epochs=[2]", "protocol.samples=20")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = study.run(compose(*small, "protocol.networks=3"), tmp_path / "alone")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    study.run(compose(*small), tmp_path / "more")
    first = (tmp_path / "more" / "networks" / "0.json").stat().st_mtime_ns
    more = study.run(compose(*small, "protocol.networks=3"), tmp_path / "more")
    assert more["measured"] == alone["measured"]
    assert more["networks"] == 3
    assert (tmp_path / "more" / "networks" / "0.json").stat().st_mtime_ns == first
    seeds = [json.loads((tmp_path / "more" / "networks" / f"{n}.json").read_text())["seed"] for n in range(3)]
    assert seeds == [0, 1000, 2000]


def test_another_configuration_in_the_same_folder_is_refused_but_for_what_is_plotted(tmp_path):
    study.run(compose(*SMALL), tmp_path)
    study.run(compose(*SMALL, "protocol.plotted=[arm]"), tmp_path)
    with pytest.raises(ConfigError, match=r"protocol\.samples=151: .* holds a study with 150; delete it, or set hydra\.run\.dir"):
        study.run(compose(*SMALL[:-1], "protocol.samples=151"), tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+protocol.estimators.tanh.clip=1", "protocol.estimators.tanh.clip=1: tanh takes name, stochastic"),
        ("+protocol.estimators.x={name: rebar}", "protocol.estimators.x.name=rebar: must be one of exact, reinforce"),
        ("protocol.train_with.name=rebar", "protocol.train_with.name=rebar: must be one of exact, reinforce"),
    ],
)
def test_bad_estimators_are_refused_before_any_work(tmp_path, override, message):
    with pytest.raises(ConfigError) as caught:
        study.run(compose(*SMALL, override), tmp_path)
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_training_with_the_exact_gradient_lowers_the_loss_and_depends_on_the_seed_alone(tmp_path):
    overrides = (*SMALL[:2], "protocol.epochs=[1,60]", "protocol.samples=2", "protocol.train_with.name=exact", "protocol.lr=0.05")
    reports = [study.run(compose(*overrides, f"seed={seed}"), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))]
    losses = [[measured["loss"][0] for measured in report["measured"]] for report in reports]
    assert losses[0][1] < losses[0][0]
    assert losses[0] == losses[1] != losses[2]


def test_every_protocol_has_a_kind():
    assert sorted(PROTOCOLS) == sorted(path.stem for path in (CONFIGS / "protocol").glob("*.yaml"))
    assert set(PROTOCOLS.values()) == set(study.KINDS)


@pytest.mark.parametrize("protocol", [name for name, kind in PROTOCOLS.items() if kind is SignsConfig])
def test_every_protocol_of_activations_composes_and_its_estimators_build(protocol):
    config = compose(f"protocol={protocol}")
    assert config.protocol.name == protocol
    labels = [label for part in signs.parts_of(config) for label in part.methods]
    measured = len(config.protocol.problems) * len(config.protocol.epochs)
    assert sorted(labels) == sorted(list(config.protocol.estimators) * measured)
    used = {chosen.name for chosen in config.protocol.estimators.values()}
    assert used == {*ste.ESTIMATORS, *estimators.METHODS}


def test_estimators_are_measured_in_the_network_of_their_own_noise_where_asked(tmp_path):
    report = study.run(compose("protocol=single_layer", "protocol.samples=20", "protocol.widths=[2]"), tmp_path)
    found = report["measured"][0]["estimators"]
    assert {
        label: (found[label]["noise"], found[label]["noise_scale"]) for label in ("uniform", "normal", "swish_sign", "arm")
    } == {
        "uniform": ("uniform", 1.0),
        "normal": ("normal", 1.0),
        "swish_sign": ("logistic", 0.2),
        "arm": ("logistic", 0.5),
    }
    assert [measured["problem"] for measured in report["measured"]] == ["multilinear", "quadratic", "exponential"]


def test_a_part_does_not_depend_on_the_other_parts(tmp_path):
    """Its random numbers follow from its name: measured alone it is the same."""
    both = study.run(compose(*SMALL), tmp_path / "all")["measured"][0]["estimators"]
    torch.manual_seed(99)
    alone = study.run(compose(*SMALL[:2], "protocol.epochs=[0]", "protocol.samples=150"), tmp_path / "alone")
    here = alone["measured"][0]["estimators"]
    annealed = ("ede", "reste")  # these depend on the last epoch
    assert {label: each for label, each in here.items() if label not in annealed} == {
        label: each for label, each in both.items() if label not in annealed
    }


def test_an_estimator_is_held_against_the_one_that_follows_from_the_networks_noise(tmp_path):
    found = study.run(compose(*SMALL), tmp_path / "psa")["measured"][0]["estimators"]
    assert {label: each["matching"] for label, each in found.items()} == {
        label: None if label == "exact" else "tanh" for label in found
    }
    assert "against" not in found["tanh"]
    assert found["logistic"]["against"]["1"] == {"difference": 0, "half_width": None, "chance": None, "verdict": None}
    own = study.run(compose("protocol=single_layer", "protocol.samples=20", "protocol.widths=[2]"), tmp_path / "own")
    matching = {label: each["matching"] for label, each in own["measured"][0]["estimators"].items()}
    assert (matching["clipped"], matching["approx_sign"], matching["gaussian"], matching["arm"]) == (
        *("uniform", "triangular", "normal", "logistic"),
    )
    assert matching["swish_sign"] is None  # nothing follows from its noise but itself


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol.widths=[5,11]", "protocol.widths=[5,11]: must be numbers from 1 to 10: all states are visited"),
        ("protocol.problems=[xor]", "protocol.problems=xor: must be one of moons, multilinear, quadratic, exponential"),
        (
            "protocol.problems=[quadratic]",
            "protocol.widths=[5,5,5]: the known losses are those of one layer; only moons takes more",
        ),
        ("protocol.noise=cauchy", "protocol.noise=cauchy: must be one of uniform, triangular, logistic, normal"),
        ("protocol.scale=0", "protocol.scale=0.0: must be a number above 0"),
        ("protocol.samples=1", "protocol.samples=1: must be a whole number of at least 2"),
        ("protocol.points=1", "protocol.points=1: must be a whole number of at least 2"),
        ("protocol.epochs=[3,1]", "protocol.epochs=[3,1]: must be rising whole numbers of at least 0"),
        ("+protocol.estimators.x={name: clipped, clip: -1}", "protocol.estimators.x.clip=-1.0: must be a number above 0"),
        ("protocol.plotted=[rebar]", "protocol.plotted=rebar: is not among protocol.estimators; [] shows all"),
        ("seed=-1", "seed=-1: must be a whole number of at least 0, below 2^63"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(override, message):
    with pytest.raises(ConfigError) as caught:
        compose(override)
    assert str(caught.value).startswith(message)
