import json
from dataclasses import replace

import pytest
import torch

from bnn_train.binary.noise import FAMILY
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_mirror import NOISES, MirrorConfig
from bnn_train.errors import ConfigError
from bnn_train.lab import mirror
from bnn_train.lab.divergences import DIVERGENCES
from bnn_train.lab.mirror import CHANGES

CONFIG = MirrorConfig("mirror", 1, list(NOISES), scale=0.05, kl=0.3, lr=0.002, steps=1000, clip_grad=0.2, clip=0.8)
TABLE = mirror.enumerated(mirror.objective(3))
STANDARD = mirror.start(3)


def by_both_ways(noise, kl, config=CONFIG, change="none"):
    """The paths, (steps, 2, weights), of mirror descent and of latent weights."""
    latent = STANDARD * config.scale
    before = mirror.pair(noise, config.scale, latent)
    ways = mirror.by_mirror(TABLE, config, noise, kl, before, CHANGES[change])
    return ways, mirror.by_latent(TABLE, config, noise, kl, latent, CHANGES[change])


@pytest.mark.parametrize("kl", [0.0, 0.3])
@pytest.mark.parametrize("noise", NOISES)
def test_latent_weights_take_a_thousand_steps_of_mirror_descent(noise, kl):
    ways, latent = by_both_ways(noise, kl)
    assert (ways - latent).abs().max() < 1e-12
    assert (ways[-1] - ways[0]).abs().max() > 0.3  # it goes somewhere


def test_some_weights_reach_the_end_of_the_noise():
    for noise in ("uniform", "triangular"):
        ways, latent = by_both_ways(noise, 0.0)
        assert (latent[-1] == 0).any()
        assert torch.equal(latent[-1] == 0, ways[-1] == 0)


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("noise", NOISES)
def test_the_prior_is_the_same_at_every_scale(noise, scale):
    """With a learning rate in proportion to the scale the path is that of any other scale."""
    config = replace(CONFIG, steps=100)
    (_, small), (ways, large) = (
        by_both_ways(noise, 0.3, config),
        by_both_ways(noise, 0.3, replace(config, scale=scale, lr=0.04 * scale)),
    )
    assert (ways - large).abs().max() < 1e-12
    assert (small - large).abs().max() < 1e-12


@pytest.mark.parametrize("change", ["gradient clipped", "latent clipped"])
@pytest.mark.parametrize("noise", NOISES)
def test_clipping_is_a_shorter_step_or_a_smaller_interval_of_mirror_descent(noise, change):
    config = replace(CONFIG, steps=100)
    ways, latent = by_both_ways(noise, 0.3, config, change)
    assert (ways - latent).abs().max() < 1e-12
    assert (by_both_ways(noise, 0.3, config)[0] - latent).abs().max() > 0.01  # and no plain one


def test_momentum_lets_the_prior_weigh_a_tenth_and_adam_gives_it_another_meaning():
    """So with ten times the weight momentum ends where mirror descent does, in the only minimum that there is with this prior."""
    config, kl = replace(CONFIG, kl=1.0), 1.0
    latent = STANDARD * config.scale

    def end(change, kl):
        return mirror.by_latent(TABLE, config, "logistic", kl, latent, CHANGES[change])[-1]

    plain = end("none", kl)
    torch.testing.assert_close(end("momentum", 10 * kl), plain, rtol=0, atol=1e-6)
    for change in ("momentum", "adam"):
        assert mirror.whole(TABLE, "logistic", kl, end(change, kl)) > mirror.whole(TABLE, "logistic", kl, plain) + 0.1


def test_the_gradient_is_autograds_through_the_probabilities():
    p = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mean = mirror.expected(TABLE, torch.stack([1 - p, p]))
    (slope,) = torch.autograd.grad(mean, p)
    found = mirror.gradient(TABLE, torch.stack([1 - p, p]).detach())
    assert (found - slope).abs().max() < 1e-12
    ends = torch.tensor([0.0, 1.0] * 4, dtype=torch.float64)
    assert mirror.expected(TABLE, torch.stack([1 - ends, ends])) == TABLE.losses[int("01" * 4, 2)]


def test_the_backward_of_drawn_weights_is_exact_where_the_loss_is_multilinear_and_has_the_squares_bias():
    p = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    chances, mean = torch.stack([1 - p, p]), 2 * p - 1
    whole = mirror.objective(5)
    multilinear = mirror.enumerated(replace(whole, features=torch.zeros_like(whole.features)))
    assert (mirror.mean_backward(multilinear, chances) - mirror.gradient(multilinear, chances)).abs().max() < 1e-12
    bias = 2 * mean * (2 * whole.features.square().mean(dim=0))  # by p, of curvature times the mean by the mean
    table = mirror.enumerated(whole)
    torch.testing.assert_close(mirror.mean_backward(table, chances) - mirror.gradient(table, chances), bias, rtol=0, atol=1e-12)


P = torch.tensor([1e-6, 0.03, 0.2, 0.499, 0.6, 0.97, 1 - 1e-6], dtype=torch.float64)
SLOPE = torch.tensor([0.3, -2.0, 1.0, 0.0, -0.2, 0.4, -3.0], dtype=torch.float64)


def mirror_map(noise, p):
    """psi'(p), by autograd through D(p, 1/2): psi'(1/2) is 0."""
    p = p.clone().requires_grad_()
    return torch.autograd.grad(DIVERGENCES[noise].from_coin(torch.stack([1 - p, p])).sum(), p)[0]


@pytest.mark.parametrize("noise", NOISES)
def test_the_divergences_slope_is_the_inverse_of_the_noises_distribution(noise):
    dual = mirror_map(noise, P)
    torch.testing.assert_close(FAMILY[noise].cdf(dual), P, rtol=1e-9, atol=1e-12)
    half = torch.full((2, 1), 0.5, dtype=torch.float64)
    torch.testing.assert_close(DIVERGENCES[noise].from_coin(half), torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("kl", [0.0, 0.7])
@pytest.mark.parametrize("noise", NOISES)
def test_a_step_is_where_what_is_minimised_has_no_slope_or_at_an_end(noise, kl):
    tau = 0.2
    found = DIVERGENCES[noise].step(torch.stack([1 - P, P]), SLOPE, tau, kl)
    torch.testing.assert_close(found.sum(dim=0), torch.ones_like(P))
    at_end = (found == 0).any(dim=0)
    dual = torch.where(at_end, 2 * found[1] - 1, mirror_map(noise, found[1].clamp(1e-300, 1 - 1e-16)))  # of both, F^-1(1) = 1
    rest = SLOPE + kl * dual + (dual - mirror_map(noise, P)) / tau
    assert rest[~at_end].abs().max() < 1e-7
    assert (rest[at_end] * dual[at_end] <= 0).all()  # it would go on beyond the end
    assert at_end.any() == (noise in ("uniform", "triangular"))


def test_a_step_of_the_triangular_and_the_normal_divergence_is_solved_to_rounding():
    for noise in ("triangular", "normal"):
        latent = torch.linspace(-0.999, 0.999, 41, dtype=torch.float64)
        before, after = mirror.pair(noise, 1.0, latent), mirror.pair(noise, 1.0, latent * 0.75)
        found = DIVERGENCES[noise].step(before, torch.zeros_like(latent), 1.0, 1 / 3)
        assert (found - after).abs().max() < 4e-16


def test_rows_hold_every_noise_and_change_and_are_gathered_over_networks(tmp_path):
    config = replace(CONFIG, noises=["uniform"], steps=20)
    ticks = []
    found = [mirror.run(LabConfig(config, [], seed), tmp_path, ticks.append) for seed in (0, 1)]
    assert sum(ticks) == pytest.approx(2)
    assert [(row["kl"], row["change"]) for row in found[0]["rows"]] == [(kl, change) for kl in (0.0, 0.3) for change in CHANGES]
    assert found[0] != found[1]
    assert mirror.run(LabConfig(config, [], 1), tmp_path, ticks.append) == found[1]
    whole = json.loads(json.dumps(mirror.gathered(found)))
    for row, *pair in zip(whole["rows"], *(each["rows"] for each in found), strict=True):
        assert row["largest"] == max(each["difference"] for each in pair)
        assert row["excess"][0] == pytest.approx(sum(each["excess"] for each in pair) / 2)
        assert (row["matched"] is None) == (row["change"] not in ("gradient clipped", "latent clipped"))
        assert row["largest"] < 1e-13 or row["change"] != "none"
    without = mirror.rows(replace(config, kl=0.0), 0)
    assert [row["kl"] for row in without] == [0.0] * len(CHANGES)


@pytest.mark.parametrize("noises", [[], ["uniform", "uniform"]])
def test_each_noise_is_named_once(noises):
    with pytest.raises(ConfigError, match=r"^protocol\.noises=.*: needs at least one, each once"):
        replace(CONFIG, noises=noises)
