import pytest
import torch

from bnn_train.binary import ste, weights
from bnn_train.config import SteConfig, WeightsConfig
from bnn_train.errors import ConfigError


def gradient(binarizer, latent):
    latent = latent.clone().requires_grad_()
    binarizer(latent).sum().backward()
    return latent.grad


LATENT = torch.tensor([-2.0, -0.5, 0.0, 0.3, 1.5])


def test_sign_binarizes_and_uses_the_activations_estimator():
    binarizer = weights.build(WeightsConfig("sign"), SteConfig("clipped", clip=0.4))
    assert binarizer(LATENT).tolist() == [-1, -1, 1, 1, 1]
    assert gradient(binarizer, LATENT).tolist() == [0, 0, 1, 1, 0]
    assert binarizer.bits == 1


def test_weights_ste_names_another_estimator():
    binarizer = weights.build(WeightsConfig("sign", ste="approx_sign"), SteConfig("clipped"))
    torch.testing.assert_close(gradient(binarizer, LATENT), ste.approx_sign(torch.ones(5), LATENT))


def test_with_real_activations_the_estimator_is_the_identity():
    assert gradient(weights.build(WeightsConfig("sign"), SteConfig("none")), LATENT).tolist() == [1] * 5


def test_weights_are_deterministic_where_activations_are_stochastic():
    binarizer = weights.build(WeightsConfig("sign"), SteConfig("tanh", stochastic=True)).train()
    assert all(binarizer(LATENT).tolist() == [-1, -1, 1, 1, 1] for _ in range(20))


def test_real_passes_the_latent_weight_through():
    binarizer = weights.build(WeightsConfig("real"), SteConfig("clipped"))
    assert torch.equal(binarizer(LATENT), LATENT)
    assert binarizer.bits == 32


def test_bad_names():
    with pytest.raises(ConfigError, match=r"weights\.name=xxx"):
        weights.build(WeightsConfig("xxx"), SteConfig("clipped"))
    with pytest.raises(ConfigError, match=r"weights\.ste=none"):
        weights.build(WeightsConfig("sign", ste="none"), SteConfig("clipped"))
