import pytest
import torch

from bnn_train.binary import noise

# Each standard, wide and narrow.
DISTRIBUTIONS = {f"{name}-{s}": noise.scaled(standard, s) for name, standard in noise.FAMILY.items() for s in (1.0, 2.5, 0.3)}
z = torch.linspace(-3, 3, 601, dtype=torch.float64)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_density_is_the_derivative_of_the_distribution_function(name):
    distribution = DISTRIBUTIONS[name]
    inner = z[(z.abs() - distribution.support).abs() > 1e-6]  # the uniform density jumps at the ends
    inner = inner.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(distribution.cdf(inner).sum(), inner)
    torch.testing.assert_close(distribution.pdf(inner), derivative)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution_function_is_symmetric_and_reaches_0_and_1(name):
    cdf = DISTRIBUTIONS[name].cdf
    torch.testing.assert_close(cdf(z) + cdf(-z), torch.ones_like(z))
    assert cdf(torch.tensor([-200.0, 0.0, 200.0])).tolist() == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_follow_the_distribution(name):
    """Kolmogorov-Smirnov: the largest distance of the empirical distribution function, at the 0.1% level, seeded."""
    torch.manual_seed(0)
    count = 20_000
    samples = DISTRIBUTIONS[name].sample(torch.empty(count, dtype=torch.float64)).sort().values
    expected = DISTRIBUTIONS[name].cdf(samples)
    below, above = torch.arange(count) / count, torch.arange(1, count + 1) / count
    assert samples.abs().max() <= DISTRIBUTIONS[name].support
    distance = torch.maximum((above - expected).abs(), (expected - below).abs()).max().item()
    assert distance < 1.95 / count**0.5


def test_logistic_samples_are_finite_in_low_precision():
    torch.manual_seed(0)
    assert noise.logistic.sample(torch.empty(100_000, dtype=torch.float16)).isfinite().all()
