"""Who takes the steps of a run: what it says of it, and what a run that goes on makes of it."""

import json
import logging

import pytest

from bnn_train.errors import ConfigError
from bnn_train.kernels import elements
from bnn_train.optim import choice
from bnn_train.runs import checkpoint
from bnn_train.runs.run import run

pytestmark = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")


def taken_by(folder):
    """As summary.json and the checkpoint say."""
    state = checkpoint.load(folder / "checkpoints" / "last.pt")
    return json.loads((folder / "summary.json").read_text())["optimizer_step"], state["trainer"]["optimizer_step"]


def test_a_run_goes_on_with_the_step_it_was_started_with(small, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run(small(), tmp_path)
    assert taken_by(tmp_path) == ("torch", "torch")
    monkeypatch.setattr(choice, "WORTH", 1)
    run(small("trainer.epochs=3"), tmp_path)
    assert taken_by(tmp_path) == ("torch", "torch")
    assert "optimizer's step: torch's (as the run was started)" in caplog.messages
    run(small("trainer.epochs=4", "trainer.step=kernels"), tmp_path)  # it is asked for
    assert "the result is that of neither alone" in " ".join(caplog.text.split())
    assert taken_by(tmp_path) == ("kernels", "kernels")
    monkeypatch.undo()
    run(small("trainer.epochs=5"), tmp_path, ["trainer.epochs=5"])
    assert taken_by(tmp_path) == ("kernels", "kernels")


def test_without_llvm_a_run_that_kernels_have_begun_is_refused_before_any_work(small, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "WORTH", 1)
    run(small(), tmp_path)
    assert taken_by(tmp_path) == ("kernels", "kernels")
    monkeypatch.setattr(elements, "available", lambda: False)
    monkeypatch.setattr("bnn_train.runs.assemble.load_data", None)
    for more in ("dry_run=false", "dry_run=true"):
        with pytest.raises(ConfigError, match=r"^trainer.step=kernels: .*pip install llvmlite.*trainer.step=torch"):
            run(small("trainer.epochs=3", more), tmp_path)


def test_a_run_of_before_there_was_a_choice_goes_on_with_torchs(small, tmp_path, monkeypatch):
    run(small(), tmp_path)
    file = tmp_path / "checkpoints" / "last.pt"
    state = checkpoint.load(file)
    del state["trainer"]["optimizer_step"], state["config"]["trainer"]["step"]
    checkpoint.save(state, file)
    monkeypatch.setattr(choice, "WORTH", 1)
    run(small("trainer.epochs=3"), tmp_path)
    assert taken_by(tmp_path) == ("torch", "torch")


def test_a_dry_run_says_who_would_take_the_steps_and_why(small, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    run(small("dry_run=true"), tmp_path)
    steps = next(line for line in caplog.messages if line.startswith("optimizer's step"))
    assert steps == "optimizer's step: torch's (1,440 weights, 28 steps: too few for kernels)"
    caplog.clear()
    run(small("dry_run=true", "trainer.step=kernels"), tmp_path)
    said = " ".join(" ".join(caplog.messages).split())
    assert "optimizer's step: kernels', in one pass over the weights (trainer.step=kernels)" in said
