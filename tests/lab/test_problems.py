import numpy as np

from bnn_train.lab.problems import half_moons


def test_half_moons_lie_on_two_half_circles():
    points, moon = half_moons(101, noise=0.0, seed=3)
    assert np.bincount(moon).tolist() == [50, 51]
    upper, lower = points[moon == 0], points[moon == 1] - (1, 0.5)
    assert np.allclose(np.linalg.norm(np.concatenate([upper, lower]), axis=1), 1)
    assert (upper[:, 1] >= 0).all()
    assert (lower[:, 1] <= 0).all()


def test_noise_moves_the_points_and_the_seed_fixes_both():
    still, moved, again = (half_moons(40, noise, seed=1)[0] for noise in (0.0, 0.2, 0.2))
    assert np.array_equal(moved, again)
    assert 0.1 < (moved - still).std() < 0.3
