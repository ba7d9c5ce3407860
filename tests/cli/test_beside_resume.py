"""Of a checkpoint alone: what is typed beside resume=RUN is held against what the run has."""

from dataclasses import asdict

import pytest

from bnn_train.cli import beside_resume
from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory, compose):
    folder = tmp_path_factory.mktemp("run")
    config = compose("model=cnn", "model.stages=[[4]]", "trainer.ema=0.9", "weights=irnet")
    overrides = ["model=cnn", "model.stages=[[4]]", "trainer.ema=0.9", "weights=irnet"]
    (folder / "checkpoints").mkdir()
    state = {"config": asdict(config), "choices": {"model": "cnn", "weights": "irnet"}, "overrides": overrides}
    checkpoint.save(state, folder / "checkpoints" / "last.pt")
    return folder


@pytest.mark.parametrize("more", [
    ["model.stages=[[4]]"], ["model=cnn"], ["weights=irnet"], ["seed=0", "trainer.ema=0.9"],
])  # fmt: skip
def test_what_the_run_has_is_left_out(run, more):
    assert beside_resume.settled([f"resume={run}", *more, "trainer.epochs=7"]) == [f"resume={run}", "trainer.epochs=7"]


@pytest.mark.parametrize(("more", "line"), [
    (["model.stages=[[8]]"], r"^model\.stages=\[\[8\]\]: the run was started with model\.stages=\[\[4\]\]; leave"),
    (["trainer.result=averaged"], r"^trainer\.result=averaged: the run was started with trainer\.result=auto; leave"),
    (["model=mlp"], "^model=mlp: the run was started with model=cnn; leave model=mlp out"),
    (["weights=sign", "seed=3"], "^weights=sign: .* started with weights=irnet, seed=0; leave weights=sign and seed=3 out"),
])  # fmt: skip
def test_what_the_run_has_otherwise_is_refused(run, more, line):
    with pytest.raises(ConfigError, match=line):
        beside_resume.settled([f"resume={run}", *more])


@pytest.mark.parametrize("more", [
    ["trainer.epohs=3"], ["trainer.epochs=3"], ["data.root=there"], ["method=bop", "seed=3"], ["+seed=3"], ["init_from=x"],
    ["-m", "seed=3"], ["edges.rules=[{layers: a}]"], ["seed=(3"], ["hydra.verbose=true"],
])  # fmt: skip
def test_what_others_check_stays(run, more):
    assert beside_resume.settled([f"resume={run}", *more]) == [f"resume={run}", *more]
    assert beside_resume.settled(["resume=nowhere", "seed=3"]) == ["resume=nowhere", "seed=3"]


def test_the_prior_of_an_older_version_may_be_typed_as_it_was(tmp_path, compose):
    config = asdict(compose("weights=stochastic", "weights.scale=0.25", "weights.kl=4.0"))
    (tmp_path / "checkpoints").mkdir()
    checkpoint.save({"config": config, "format": 2}, tmp_path / "checkpoints" / "last.pt")
    for same in ("weights.kl=4.0", "weights.kl=2.0"):  # as typed then, as it is called now
        assert beside_resume.settled([f"resume={tmp_path}", same]) == [f"resume={tmp_path}"]
    with pytest.raises(ConfigError, match=r"^weights\.kl=1\.0: the run was started with weights\.kl=2\.0"):
        beside_resume.settled([f"resume={tmp_path}", "weights.kl=1.0"])
