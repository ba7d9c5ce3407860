"""One short run from Python, for all tests of what comes of it."""

import pytest

import bnn_train

SHORT = {"model": {"hidden": [16, 16]}, "trainer": {"epochs": 2}}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return bnn_train.train({**SHORT, "hydra.run.dir": tmp_path_factory.mktemp("interface") / "run (1)"})
