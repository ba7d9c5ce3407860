"""Shortcomings against closed forms of networks of one unit, and against samples."""

import json
import math

import pytest
import torch

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_shortcomings import ShortcomingConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import batches, estimators, expected, problems, shortcomings
from bnn_train.lab.network import Network, draw, exact_gradient, parameter_gradients

LOGISTIC = scaled(FAMILY["logistic"], 0.5)
TANH = {"name": "tanh", "stochastic": True}


def config(experiment, over, **keys):
    given = {"estimators": {"tanh": TANH}, "widths": [2, 2], "points": 10, "noise": "logistic", "scale": 0.5}
    return ShortcomingConfig(name=f"shortcoming_{experiment}", experiment=experiment, over=over, **{**given, **keys})


def study_of(*args, **keys):
    return LabConfig(protocol=config(*args, **keys))


def st(name, **options):
    return {"name": name, "stochastic": True, **options}


def one_unit(a, layers=1):
    """x_1 = sign(a - Z_1), x_l = sign(x_{l-1} - Z_l), and the last value as the loss: E is odd in a, the chain linear in x."""
    net = Network(torch.empty(1, 0, dtype=torch.float64), (1,) * layers, False, lambda x: x.squeeze(-1), LOGISTIC)
    return net, torch.tensor([a, *[1.0, 0.0] * (layers - 1)], dtype=torch.float64)


@pytest.mark.parametrize("a", [0.0, 0.7, 1.5])
def test_a_wrong_factor_is_off_by_its_ratio_to_the_right_one_in_a_linear_unit(a):
    net, theta = one_unit(a)
    exact = exact_gradient(net, theta).item()
    assert exact == pytest.approx(1 - math.tanh(a) ** 2)
    for name, factor in (("tanh", exact), ("identity", 1), ("clipped", float(a <= 1)), ("approx_sign", max(0, 2 - 2 * a))):
        found = expected.expectation(net, theta, rule(name)).item()
        assert found == pytest.approx(factor, abs=1e-12)


def rule(name):
    return expected.rule("protocol.estimators.a", config("sharp", [1], estimators={"a": st(name)}).estimators["a"])


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_the_ratio_is_multiplied_layer_by_layer(layers):
    """Of d E[x_L] / da: the exact tanh(1)^(L-1) (1 - tanh(a)^2), a flip counting; tanh (1 - tanh(1)^2)^(L-1) (1 - tanh(a)^2)."""
    net, theta = one_unit(0.4, layers)
    first, slope, flip = 1 - math.tanh(0.4) ** 2, 1 - math.tanh(1) ** 2, math.tanh(1)
    assert exact_gradient(net, theta)[0].item() == pytest.approx(flip ** (layers - 1) * first)
    for name, value in (("tanh", slope ** (layers - 1) * first), ("identity", 1), ("approx_sign", 0)):
        assert expected.expectation(net, theta, rule(name))[0].item() == pytest.approx(value, abs=1e-12)
    assert expected.expectation(net, theta, expected.psa())[0].item() == pytest.approx(flip ** (layers - 1) * first)


EXPERIMENTS = [
    config("depth", [1, 2, 3]),
    config("sharp", [0.25, 0.5, 1], estimators={"logistic": st("logistic"), "tanh": TANH, "psa": {"name": "psa"}}),
    config("forward", [0, 0.5, 1]),
    config("saturation", [0, 2], widths=[2], estimators={"clipped": st("clipped"), "identity": st("identity")}),
    config("clamp", [0.1, 100], estimators={"clamped_grad": st("clamped_grad"), "identity": st("identity")}),
    config("batch", [1, 10, 100], samples=40, estimators={"tanh": TANH, "arm": {"name": "arm"}}, epochs=3),
]


@pytest.mark.parametrize("protocol", EXPERIMENTS, ids=lambda protocol: protocol.experiment)
def test_each_experiment_gives_plain_figures_that_depend_on_the_seed_alone(protocol):
    found = shortcomings.measured(protocol, 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found == shortcomings.measured(protocol, 3)
    assert found != shortcomings.measured(protocol, 4)
    assert len(found["panels"]) == 2
    for lines in found["panels"].values():
        for label, line in lines.items():
            assert label.split(", ")[0] in {*protocol.estimators, "exact"}
            assert set(line) <= {f"{x:g}" for x in protocol.over}


def bias(protocol, seed=0):
    return shortcomings.measured(protocol, seed)["panels"][shortcomings.BIAS]


def test_in_sharp_networks_the_scale_follows_where_it_is_a_key_and_only_there():
    found = bias(EXPERIMENTS[1])
    assert found["logistic"]["0.5"] == pytest.approx(found["tanh"]["0.5"])
    assert found["logistic"]["0.25"] < found["tanh"]["0.25"]
    assert found["logistic"]["1"] < found["tanh"]["1"]


def test_with_all_of_the_noise_both_networks_of_forward_are_one():
    found = bias(EXPERIMENTS[2])
    assert found["tanh"]["1"] == found["tanh, of the network that runs"]["1"]
    assert list(found["tanh, of the network that runs"]) == ["0.5", "1"]


def test_without_noise_in_the_forward_the_mean_is_the_one_pass_there_is():
    protocol = EXPERIMENTS[2]
    net, theta = shortcomings.network(protocol, 0)
    method = estimators.build(protocol.estimators["tanh"], 0.5)
    sample = draw(net, theta, 1, method.forward, noise=False)
    single = parameter_gradients(net, sample, method.deltas(net, theta, sample, None))[0]
    exact = exact_gradient(net, theta)
    assert bias(protocol)["tanh"]["0"] == pytest.approx(((single - exact).norm() / exact.norm()).item())


def test_saturated_units_get_nothing_within_a_window_and_too_much_from_the_identity():
    norms = shortcomings.measured(EXPERIMENTS[3], 0)["panels"][shortcomings.NORM]
    assert norms["exact"]["0"] == 1
    assert 0 < norms["exact"]["2"] < 0.3
    far = shortcomings.measured(config("saturation", [0, 9], widths=[2], estimators={"c": st("clipped"), "i": st("identity")}), 0)
    assert far["panels"][shortcomings.NORM]["c"]["9"] == 0
    assert far["panels"][shortcomings.COSINE]["c"]["9"] == 0
    assert far["panels"][shortcomings.NORM]["i"]["9"] > 0.5


def test_a_clamp_that_nothing_reaches_is_the_identity_and_one_that_all_reach_is_not():
    found = bias(EXPERIMENTS[4])
    assert found["clamped_grad"]["0.1"] == pytest.approx(found["identity"]["0.1"])
    assert found["identity"]["0.1"] == pytest.approx(found["identity"]["100"])
    assert found["clamped_grad"]["100"] != pytest.approx(found["identity"]["100"], rel=0.05)


def test_the_error_of_a_mean_is_bias_and_deviation_by_the_root_of_their_number():
    """Both enumerated: error^2 = bias^2 + variance / size."""
    net = problems.moons([2, 2], LOGISTIC, 10, 0)
    theta = problems.start(net, 0)
    exact, method = exact_gradient(net, theta), estimators.build(EXPERIMENTS[0].estimators["tanh"], 0.5)
    mean, variance = expected.over_paths(net, theta, method.deltas)
    torch.manual_seed(0)
    found = batches.errors(net, theta, exact, method, [1, 20], samples=4000)[batches.ERROR]
    for size in (1, 20):
        error = math.sqrt((mean - exact).norm().item() ** 2 + variance.item() / size) / exact.norm().item()
        assert found[size] == pytest.approx(error, rel=0.04)


def test_gradients_of_single_data_average_to_those_of_the_mean_loss():
    net = problems.moons([2, 2], LOGISTIC, 10, 0)
    theta, method = problems.start(net, 0), estimators.METHODS["psa"]
    torch.manual_seed(0)
    pool = batches.gradients(net, theta, method, 3)
    assert pool.shape == (30, len(theta))
    torch.manual_seed(0)
    draw(net, theta, batches.CHUNK, method.forward)  # for the baseline
    sample = draw(net, theta, 3, method.forward)
    whole = parameter_gradients(net, sample, method.deltas(net, theta, sample, None)).mean(dim=0)
    torch.testing.assert_close(pool.mean(dim=0), whole)


def test_an_estimator_without_noise_is_not_measured_as_if_it_had_some():
    with pytest.raises(ConfigError, match=r"protocol\.estimators\.mine\.stochastic=false: is measured with noise"):
        shortcomings.check(study_of("depth", [1], estimators={"mine": {"name": "tanh"}}))
    shortcomings.check(study_of("batch", [1], estimators={"mine": {"name": "tanh"}}))


def test_where_the_exact_gradient_is_0_the_figures_stay_finite():
    """Uniform noise of units so far from 0 that nothing moves them."""
    far = config("saturation", [8, 9], widths=[2], noise="uniform", scale=1.0, estimators={"c": st("clipped"), "i": st("identity")})
    norms = shortcomings.measured(far, 0)["panels"][shortcomings.NORM]
    assert norms["exact"] == norms["c"] == {"8": 0, "9": 0}
    assert all(map(math.isfinite, norms["i"].values()))


@pytest.mark.parametrize(
    ("experiment", "given", "message"),
    [
        ("depth", {"name": "gumbel", "stochastic": True}, "gumbel: depends on the noise itself"),
        ("sharp", {"name": "clamped_grad", "stochastic": True}, "clamped_grad: is not linear in what arrives"),
        ("depth", {"name": "arm"}, "arm: has the exact gradient as its mean"),
        ("clamp", {"name": "gumbel", "stochastic": True}, "gumbel: depends on the noise itself"),
        ("batch", {"name": "exact"}, "exact: has no samples"),
    ],
)
def test_an_estimator_whose_mean_is_not_enumerated_is_named_with_its_place(experiment, given, message):
    with pytest.raises(ConfigError) as caught:
        shortcomings.check(study_of(experiment, [1], estimators={"mine": given}))
    assert str(caught.value).startswith(f"protocol.estimators.mine.name={message}")


@pytest.mark.parametrize(
    ("experiment", "keys", "message"),
    [
        ("forward", {"estimators": {"psa": {"name": "psa"}}}, "protocol.estimators=psa: forward varies the noise"),
        ("clamp", {"widths": [7, 7]}, "protocol.widths=[7,7]: clamp visits all paths"),
    ],
)
def test_what_an_experiment_cannot_do_is_refused(experiment, keys, message):
    with pytest.raises(ConfigError) as caught:
        shortcomings.check(study_of(experiment, [1], **keys))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("experiment", "over", "keys", "message"),
    [
        ("depth", [1, 9], {}, "protocol.over=[1,9]: must be within [1, 8]: stochastic layers"),
        ("depth", [1.5], {}, "protocol.over=[1.5]: must be whole numbers"),
        ("sharp", [0], {}, "protocol.over=[0]: must be within (0, inf)"),
        ("sharp", [2, 1], {}, "protocol.over=[2,1]: must be rising numbers"),
        ("batch", [1, 1000], {"samples": 10}, "protocol.over=[1,1000]: must be at most half of"),
        ("width", [1], {}, "protocol.experiment=width: must be one of depth, sharp"),
        ("sharp", [1], {"estimators": {}}, "protocol.estimators={}: needs at least one"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(experiment, over, keys, message):
    with pytest.raises(ConfigError) as caught:
        config(experiment, over, **keys)
    assert str(caught.value).startswith(message)
