import itertools
import json

import pytest
import torch

from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_training import LabTrainingConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import problems, training
from bnn_train.lab.network import exact_gradient, exact_loss, states

ESTIMATORS = {"tanh": {"name": "tanh", "stochastic": True}, "psa": {"name": "psa"}, "identity_no_noise": {"name": "identity"}}


def config(**keys):
    given = {"estimators": ESTIMATORS, "widths": [2], "points": 12, "held_out": 10, "noise": "logistic", "scale": 0.5}
    return LabTrainingConfig(name="training", **{**given, "steps": 6, "lrs": [0.01, 0.1], "samples": 200, **keys})


def test_a_network_gives_plain_figures_that_depend_on_the_seed_alone():
    found = training.measured(config(), 1)
    assert json.loads(json.dumps(found, allow_nan=False)) == found == training.measured(config(), 1)
    assert list(found["estimators"]) == list(ESTIMATORS)
    assert list(found["spearman"]) == list(training.OUTCOMES)
    cosines = found["estimators"]["psa"]["cosine"]
    assert cosines["100"]["start"] > cosines["1"]["start"]  # its mean is the exact gradient here
    without = found["estimators"]["identity_no_noise"]["cosine"]
    assert without["1"] == without["100"]
    assert all(each["lr"] in (0.01, 0.1) for each in found["estimators"].values())


def test_held_out_accuracies_are_held_against_the_estimator_that_the_noise_gives():
    networks = [training.measured(config(), seed) for seed in range(3)]
    assert {network["matching"] for network in networks} == {"tanh"}
    against = training.gathered(networks)["against"]
    assert list(against["verdicts"]) == ["psa", "identity_no_noise"]
    gains = [each["estimators"]["psa"]["held-out accuracy"] - each["estimators"]["tanh"]["held-out accuracy"] for each in networks]
    assert against["verdicts"]["psa"]["difference"] == pytest.approx(sum(gains) / 3)
    assert training.measured(config(scale=1.0), 0)["matching"] is None  # tanh's own noise has the scale 1/2


def test_an_estimators_figures_do_not_depend_on_the_others():
    alone = training.measured(config(estimators={label: ESTIMATORS[label] for label in ("psa", "tanh")}), 1)["estimators"]
    assert alone["tanh"] == training.measured(config(), 1)["estimators"]["tanh"]


def test_the_exact_gradient_trains_and_keeps_the_learning_rate_with_the_least_training_loss():
    data = training.problem(config(), 0)
    theta = problems.start(data.training, 0)
    losses = {}
    for lr in (0.01, 0.1):
        *_, last = training.train(data.training, theta, None, lr, 6, 0)
        losses[lr] = exact_loss(data.training, last).item()
    found = training.measured(config(), 0)["exact"]
    assert found["training loss"] == min(losses.values()) < exact_loss(data.training, theta).item()
    assert losses[found["lr"]] == found["training loss"]


def test_adams_first_step_is_its_learning_rate_against_the_sign_of_the_gradient():
    data = training.problem(config(), 0)
    theta = problems.start(data.training, 0)
    first, second = training.train(data.training, theta, None, 0.1, 1, 0)
    torch.testing.assert_close(first, theta)
    torch.testing.assert_close(second, theta - 0.1 * exact_gradient(data.training, theta).sign(), rtol=0, atol=1e-5)


def test_held_out_accuracy_is_the_expectation_over_all_states():
    """By hand: of each point, the probabilities of the states that put it on its side."""
    data = training.problem(config(), 2)
    theta = problems.start(data.training, 2)
    (w1, b1), (w2, b2) = data.held.layers(theta)
    total = 0.0
    for x, side in zip(data.held.inputs, data.sides, strict=True):
        for state in states(2):
            p = data.held.noise.cdf(state * (w1 @ x + b1)).prod()
            total += (p * ((w2 @ state + b2) * side > 0)).item()
    assert training._outcomes(data, theta)["held-out accuracy"] == pytest.approx(total / 10)
    assert not {tuple(x) for x in data.held.inputs.tolist()} & {tuple(x) for x in data.training.inputs.tolist()}


def test_spearman_is_that_of_ranks_with_ties_shared():
    assert training.spearman([1, 2, 3], [10, 100, 1000]) == pytest.approx(1)
    assert training.spearman([1, 2, 3], [-1, -2, -3]) == pytest.approx(-1)
    assert training.spearman([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert training.spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(1.5 / (1.5 * 2) ** 0.5)  # ranks 0.5, 0.5, 2 and 0, 1, 2
    assert training.spearman([1, 1], [1, 2]) == 0
    for order in itertools.permutations(range(3)):
        assert training.spearman(list(order), list(order)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lrs": []}, "protocol.lrs=[]: needs at least one"),
        ({"estimators": {"tanh": ESTIMATORS["tanh"]}}, "protocol.estimators=[tanh]: needs two at least"),
        ({"estimators": {**ESTIMATORS, "e": {"name": "exact"}}}, "protocol.estimators.e.name=exact: trains always; leave it out"),
        ({"estimators": {**ESTIMATORS, "e": {"name": "rebar"}}}, "protocol.estimators.e.name=rebar: must be one of"),
        ({"samples": 100}, "protocol.samples=100: must be a whole number of at least 200"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(keys, message):
    with pytest.raises(ConfigError) as caught:
        training.check(LabConfig(protocol=config(**keys)))
    assert str(caught.value).startswith(message)
