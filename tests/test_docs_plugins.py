"""docs/plugins.md as it stands there: its files are written, its commands run, with less to do."""

import re
import shlex
import textwrap
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import bnn_train
from bnn_train import Sign, Ste
from bnn_train.cli import compose, evaluate, export, plug
from bnn_train.cli.arguments import for_hydra
from bnn_train.config.lab import LabConfig
from bnn_train.config.model import BlockConfig
from bnn_train.lab import study
from bnn_train.models import blocks

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = re.findall(r"^(\w+\.py)\b[^`]*?(?:`[^`\n]+`[^`]*?)*```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(command) for command in re.findall(r"^    (bnn-.*)$", PAGE, re.MULTILINE)]
LESS = {"trainer.epochs=3": "trainer.epochs=1", "trainer.epochs=4": "trainer.epochs=2"}
LESS_OF_LAB = ("protocol.networks=1", "protocol.samples=2", "protocol.epochs=[1]", "protocol.plotted=[mine]")


def test_the_page_has_every_kind_of_file():
    assert [name for name, _ in FILES] == ["my_net.py", "shapes.py", "rows.py", "bump.py", "focal.py", "notes.py"]
    assert all(8 <= len(text.splitlines()) <= 32 for _, text in FILES)
    assert len(COMMANDS) == 16


def test_a_block_is_set_around_a_layer_as_the_page_says():
    (text,) = re.findall(r"^  ```python\n(.*?)^  ```", PAGE, re.MULTILINE | re.DOTALL)
    space = {"parts": blocks.Parts(lambda: Ste("clipped"), lambda: Sign(Ste("clipped")), BlockConfig(shortcut="per_conv"))}
    exec(textwrap.dedent(text), space)
    assert [name for name, _ in space["layers"]] == ["block_conv2", "conv3", "norm_conv3"]
    assert nn.Sequential(OrderedDict(space["layers"]))(torch.zeros(2, 16, 8, 8)).shape == (2, 32, 4, 4)


def test_every_command_runs(plugin, tmp_path, monkeypatch, capsys):
    for name, text in FILES:
        plugin(text, name)
    for program, *given in COMMANDS:
        arguments = [LESS.get(argument, argument) for argument in given]
        if program == "bnn-lab":
            plug.load(arguments)
            composed = compose.compose(for_hydra([*arguments, *LESS_OF_LAB]), "lab")
            config = compose.hydra_errors.typed(composed, LabConfig)
            config.protocol.estimators = {"mine": config.protocol.estimators["mine"]}
            measured = study.run(config, tmp_path / "lab")["measured"]
            assert measured[0]["estimators"]["mine"]["blocks"]["all"]["std"][0] > 0
        elif program == "bnn-train" and not {"-m", "--help"} & set(arguments):
            short = [] if any("epochs" in argument for argument in arguments) else ["trainer.epochs=1"]
            short += [] if any(argument.startswith(("model", "resume")) for argument in arguments) else ["model.hidden=[16,16]"]
            assert bnn_train.train([*arguments, *short]).summary["test_accuracy"] > 0
        elif program in ("bnn-eval", "bnn-export"):
            monkeypatch.setattr("sys.argv", [program, *arguments])
            {"bnn-eval": evaluate, "bnn-export": export}[program].main()
            assert "mine/checkpoints/result.pt" in (out := capsys.readouterr().out) or "mine.bnn" in out


@pytest.mark.docs
def test_its_sweep_runs(command, plugin):
    plugin(FILES[0][1], "my_net.py")
    (sweep,) = [given for _, *given in COMMANDS if "-m" in given]
    assert "rank" in command(*sweep, "trainer.epochs=1").stdout
