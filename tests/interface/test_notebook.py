"""A training in a real notebook: its kernel is a process of its own, whose streams are no terminal."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
TRAINING = """
import bnn_train
run = bnn_train.train({"model.hidden": [16, 16], "trainer.epochs": 2, "hydra.run.dir": "run"})
run.summary["status"], len(run.frame()), run.network().predict("digit.png").shape
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of the notebook's own packages
def test_a_training_shows_its_bar_and_gives_its_run(tmp_path, monkeypatch):
    Image.new("L", (8, 8), 200).save(tmp_path / "digit.png")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRAINING)])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    shown = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.search(r"epoch +2/2.*100%", shown)
    assert [output.data["text/plain"] for output in outputs if output.output_type == "execute_result"] == ["('finished', 2, (1,))"]
    assert (tmp_path / "run" / "summary.json").exists()
