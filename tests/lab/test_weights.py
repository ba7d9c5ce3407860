import json

import pytest
from omegaconf import OmegaConf

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.cli import compose as composing
from bnn_train.errors import ConfigError
from bnn_train.lab import study, weight_network, weights

SMALL = ("protocol.widths=[2]", "protocol.units=3", "protocol.points=6", "protocol.sharpness=[0.5,1]", "protocol.samples=200")


def compose(*overrides):
    return OmegaConf.to_object(composing.compose(["protocol=weights", "protocol.networks=1", *overrides], "lab"))


def without_time(report):
    return {key: value for key, value in report.items() if key != "seconds"}


def test_a_study_holds_every_problem_at_every_sharpness_with_every_estimator(tmp_path):
    config = compose(*SMALL, "protocol.networks=2", "protocol.problems=[stochastic,quadratic]")
    report = study.run(config, tmp_path)
    assert report["kind"] == "measured"
    places = [(place["problem"], place["sharpness"]) for place in report["measured"]]
    assert places == [(problem, sharpness) for problem in config.protocol.problems for sharpness in (0.5, 1)]
    for place in report["measured"]:
        blocks = ["output", "all"] if place["problem"] == "quadratic" else ["layer 1", "output", "all"]
        assert list(place["estimators"]) == list(config.protocol.estimators)
        for label, estimator in place["estimators"].items():
            assert list(estimator["blocks"]) == blocks
            quiet = label == "exact" or (label == "deterministic" and place["problem"] != "stochastic")
            assert estimator["samples"] == (1 if quiet else 200)
            assert estimator["matching"] == (None if label == "exact" else "straight_through")
            assert ("against" in estimator) is (label not in ("exact", "straight_through"))
        exact = place["estimators"]["exact"]["blocks"]["all"]
        assert exact["bias"] == [pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6)]
        assert exact["improvement"]["1"] == [pytest.approx(1), pytest.approx(0, abs=1e-6)]


def test_a_study_that_was_stopped_goes_on_place_by_place_to_the_same_numbers(tmp_path, monkeypatch):
    config = compose(*SMALL, "protocol.problems=[quadratic,sign]")
    whole = without_time(study.run(config, tmp_path / "whole"))
    measure, done = weights._measure, []

    def stop_at_the_fourth(*given):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(given[3:])
        return measure(*given)

    monkeypatch.setattr(weights, "_measure", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "stopped")
    kept = sorted(file.name for file in (tmp_path / "stopped" / "networks" / "0").iterdir())
    assert kept == ["quadratic-0.5.json", "quadratic-1.0.json", "sign-0.5.json"]
    monkeypatch.setattr(weights, "_measure", lambda *given: done.append(given[3:]) or measure(*given))
    assert without_time(study.run(config, tmp_path / "stopped")) == whole
    assert done == [("quadratic", 0.5), ("quadratic", 1), ("sign", 0.5), ("sign", 1)]


def test_the_whole_of_a_networks_work_is_told_bit_by_bit(tmp_path):
    told = []
    weights.run(compose(*SMALL, "protocol.problems=[quadratic,sign]"), tmp_path, told.append)
    assert told == [0.25] * 4


def test_the_default_protocol_measures_every_estimator_and_its_network_is_small_enough():
    config = compose()
    weights.check(config)
    assert {each.name for each in config.protocol.estimators.values()} == set(weights.weight_estimators.METHODS)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["protocol.widths=[4]"], "protocol.widths=[4]: makes 16 weights, those of a 1 beside the coordinates too; at most 14"),
        (["protocol.problems=[xor]"], "protocol.problems=xor: must be one of multilinear, quadratic"),
        (["protocol.problems=[]"], "protocol.problems=[]: needs at least one"),
        (["protocol.units=15"], "protocol.units=15: must be in [1, 14]"),
        (["protocol.sharpness=[1,0.5]"], "protocol.sharpness=[1.0,0.5]: must be rising numbers"),
        (["protocol.plotted=[rebar]"], "protocol.plotted=rebar: is not among protocol.estimators; [] shows all"),
        (["protocol.estimators.arm.name=rebar"], "protocol.estimators.arm.name=rebar: must be one of exact, straight_through"),
        (
            ["protocol.sharpness=[4]", "protocol.samples=100"],
            "protocol.sharpness=4.0: the rarer value of a weight is drawn 0.034 times in 100 samples; take more, for 5",
        ),
    ],
)
def test_a_bad_value_is_refused_with_the_remedy_before_any_work(tmp_path, overrides, message):
    with pytest.raises(ConfigError) as caught:
        study.run(compose(*overrides), tmp_path)
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_neither_other_estimators_nor_other_places_change_a_figure(tmp_path):
    whole = study.run(compose(*SMALL, "protocol.problems=[quadratic,stochastic]"), tmp_path / "whole")["measured"]
    few = compose(*SMALL, "protocol.problems=[stochastic]", "protocol.sharpness=[1]")
    few.protocol.estimators = {label: few.protocol.estimators[label] for label in ("arm", "straight_through")}
    (alone,) = study.run(few, tmp_path / "alone")["measured"]
    assert alone["estimators"] == {label: whole[3]["estimators"][label] for label in few.protocol.estimators}


def test_estimators_that_are_the_same_get_the_same_figures(tmp_path):
    uniform = ("protocol.noise=uniform", "protocol.scale=1", "protocol.problems=[stochastic]", "protocol.sharpness=[0.5]")
    (place,) = study.run(compose(*SMALL, *uniform), tmp_path)["measured"]
    same = [place["estimators"][label]["blocks"] for label in ("straight_through", "stochastic_binaryconnect")]
    assert same[0] == same[1]


def test_latent_weights_beyond_the_support_are_kept_within_and_so_are_not_refused(tmp_path):
    small = ("protocol.noise=uniform", "protocol.scale=1", "protocol.sharpness=[3]", "protocol.problems=[quadratic]")
    report = study.run(compose(*SMALL, *small), tmp_path)
    found = report["measured"][0]["estimators"]
    assert json.dumps(found).find("NaN") < 0
    assert found["disarm"]["blocks"]["all"]["bias"] != found["straight_through"]["blocks"]["all"]["bias"]


def test_a_gain_is_of_the_step_of_the_latent_weights_which_the_configuration_says(tmp_path):
    """Of the sign without noise, which has one gradient: both steps taken here."""
    config = compose(*SMALL, "protocol.problems=[tanh]", "protocol.sharpness=[1]", "protocol.step=0.3")
    place = weights.run(config, tmp_path, lambda share: None)["measured"][0]
    net = weight_network.build("tanh", [2], 3, scaled(FAMILY["logistic"], 0.5), 6, config.seed)
    values, eta = weight_network.state_losses(net), weight_network.start(net, 1.0, config.seed)

    def gain(direction):
        moved = (eta - 0.3 * direction / direction.norm()).tanh()
        return (weight_network.expected(values, eta.tanh()) - weight_network.expected(values, moved)).item()

    exact, sign = weight_network.exact_gradient(values, eta.tanh()), weight_network.gradients(net, eta.sign()[None])[0]
    found = place["estimators"]["deterministic"]["blocks"]["all"]["improvement"]
    assert found["1"] == pytest.approx(gain(sign) / gain(exact), rel=1e-5)


def test_reinforces_baseline_is_the_loss_known_from_earlier_draws(tmp_path):
    """Of a quadratic loss, whose mean is far from 0."""
    place = weights.run(compose(*SMALL, "protocol.problems=[quadratic]"), tmp_path, lambda share: None)["measured"][0]
    with_it, without = (place["estimators"][name]["blocks"]["all"]["std"] for name in ("reinforce_baseline", "reinforce"))
    assert with_it < 0.5 * without
