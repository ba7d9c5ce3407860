"""What a run says and writes of its layers' health, also when it is stopped, continued and extended."""

import json
import logging

import pytest

from bnn_train.runs import checkpoint
from bnn_train.runs.run import run


def rows(run_dir):
    return [json.loads(line) for line in (run_dir / "health.jsonl").read_text().splitlines()]


def test_a_row_for_each_epoch(small, tmp_path):
    run(small("trainer.epochs=3"), tmp_path)
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2, 3]
    assert all(list(row["layers"]) == ["linear1", "linear2"] for row in rows(tmp_path))


def test_an_illness_is_said_once_and_stands_in_the_notes(small, tmp_path, caplog):
    """As soon as it is certain; the words at the end are not those that were said before."""
    caplog.set_level(logging.INFO)
    summary = run(small("optimizer.lr=1e-9", "trainer.epochs=4"), tmp_path)
    messages = [record.getMessage() for record in caplog.records]
    (said,) = (i for i, message in enumerate(messages) if "nothing flips" in message)
    assert messages[said - 1].startswith("epoch 2/4")
    assert caplog.records[said].levelname == "WARNING"
    assert sum("nothing flips" in note for note in summary["notes"]) == 1
    assert sum("health of the binary layers in epoch 4" in message for message in messages) == 1


def test_of_a_healthy_run_nothing_is_shown(small, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(small("model.hidden=[64,64]", "trainer.epochs=3"), tmp_path)
    assert "health of" not in caplog.text
    assert "flip" not in caplog.text


@pytest.mark.parametrize("lost", [[], [-1], [0, -1]], ids=["nothing", "the last line", "two lines"])
def test_lines_of_a_run_that_goes_on(small, tmp_path, lost):
    """A crash may leave lines beyond the checkpoint, half a line, or lack the last one. What else is lost stays so."""
    run(small("trainer.epochs=2"), tmp_path / "split")
    file = tmp_path / "split" / "health.jsonl"
    lines = file.read_text().splitlines()
    kept = [line for i, line in enumerate(lines) if i not in [index % len(lines) for index in lost]]
    file.write_text("\n".join([*kept, '{"epoch": 3, "layers": {}}', '{"epoch": 4, "la']))
    state = checkpoint.load(tmp_path / "split" / "checkpoints" / "last.pt")
    assert state["trainer"]["health"]["row"] == json.loads(lines[-1])
    run(small("trainer.epochs=4"), tmp_path / "split", overrides={"trainer.epochs"})
    found = [row["epoch"] for row in rows(tmp_path / "split")]
    assert found == ([2, 3, 4] if len(lost) == 2 else [1, 2, 3, 4])
    assert json.loads(lines[-1]) in rows(tmp_path / "split")


def test_a_run_that_ended_within_an_epoch_and_goes_on(small, tmp_path):
    """The row of the part is written, and gives way to that of the whole epoch, which is as if the run had never ended there."""
    run(small("trainer.max_steps=20", "scheduler=constant"), tmp_path / "split")
    assert [(row["epoch"], row.get("steps")) for row in rows(tmp_path / "split")] == [(1, None), (2, 6)]
    run(small("trainer.max_steps=null", "scheduler=constant"), tmp_path / "split", overrides={"trainer.max_steps"})
    run(small("scheduler=constant"), tmp_path / "whole")
    assert rows(tmp_path / "split") == rows(tmp_path / "whole")


def test_a_checkpoint_without_health_goes_on(small, tmp_path):
    """As the versions before have left it: what flipped then is not known."""
    run(small(), tmp_path)
    path = tmp_path / "checkpoints" / "last.pt"
    state = checkpoint.load(path)
    del state["trainer"]["health"], state["format"]
    checkpoint.save(state, path)
    (tmp_path / "health.jsonl").unlink()
    run(small("trainer.epochs=3"), tmp_path, overrides={"trainer.epochs"})
    (row,) = rows(tmp_path)
    assert row["epoch"] == 3
    assert all("never_moved" not in figures and figures["back_and_forth"] == 0 for figures in row["layers"].values())
