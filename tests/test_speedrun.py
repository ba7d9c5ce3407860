"""What scripts/speedrun.py says of its runs."""

import json
import subprocess

import pytest
import speedrun
import torch
from speedrun import Run
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryConv2d
from bnn_train.models.layer_table import layer_rows
from bnn_train.report import interval
from bnn_train.report.tables import network_totals


def runs(*accuracies, others=0):
    return [Run(seed, accuracy, 20.0 + seed, 30.0, others) for seed, accuracy in enumerate(accuracies)]


def test_the_figures_of_two_runs_are_those_of_closed_forms():
    """Mean 0.987, deviation sqrt(2) 0.001, and the mean of two lies within tan(0.95 pi / 2) 0.001 of the truth."""
    assert interval.half_width([0.986, 0.988]) == pytest.approx(0.001 * interval.quantile(1))
    assert speedrun.figures(runs(0.986, 0.988)) == [
        "accuracy  98.70% ± 0.14% (n=2), 95% interval 97.43% to 99.97%, lowest 98.60%",
        "seconds   mean 20.5, longest 21.0; of the processor 30.0",
    ]


def test_a_single_run_has_neither_deviation_nor_interval():
    assert speedrun.figures(runs(0.98))[0] == "accuracy  98.00% (n=1: no deviation)"


def test_a_busy_machine_is_said():
    some = [*runs(0.98, 0.98), *runs(0.98, others=2)]
    assert speedrun.figures(some)[2].startswith("busy      other processes computed as 1 of 3 runs started")


def test_the_accuracy_is_of_the_held_out_images_where_there_are_any():
    assert speedrun.accuracy({"test_accuracy": 0.5}) == 0.5
    assert speedrun.accuracy({"test_accuracy": 0.5, "val_accuracy": 0.25}) == 0.25


def test_each_seed_is_a_whole_command_of_its_own(tmp_path, monkeypatch, capsys):
    started = []

    def ends(command, **_):
        started.append(command[1:])
        folder = tmp_path / "runs" / f"seed={len(started) - 1}"
        folder.mkdir(parents=True)
        summary = {"test_accuracy": 0.98, "device": "cpu, threads: 2", "versions": {"torch": "2.14"}}
        (folder / "summary.json").write_text(json.dumps(summary))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", ends)
    shown = ["--data", "D", "--seeds", "2", "--keep", str(tmp_path / "runs"), "--override", "trainer.epochs=1"]
    speedrun.main(["mnist_speedrun", *shown])
    assert started == [
        [
            "-m",
            "bnn_train",
            "experiment=mnist_speedrun",
            "data.root=D",
            "trainer.epochs=1",
            f"seed={seed}",
            f"hydra.run.dir={folder}",
        ]
        for seed, folder in enumerate([tmp_path / "runs" / "seed=0", tmp_path / "runs" / "seed=1"])
    ]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[1:3]] == [["0", "98.00%"], ["1", "98.00%"]]
    assert said[-1].endswith("cpu, threads: 2; torch 2.14")


def test_runs_that_are_there_are_no_speed_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        speedrun.main(["mnist_speedrun", "--data", "D", "--keep", str(tmp_path)])
    assert "is there already" in capsys.readouterr().err


def test_the_recipe_for_mnist_keeps_the_rules(compose):
    """One bit on both sides between the first and the last layer, at the border too; all training images, nothing chosen."""
    config = compose("experiment=mnist_speedrun")
    assert (config.data.name, config.data.val_size, config.data.train_limit, config.init_from) == ("mnist", 0, None, None)
    model = models.build(config, (1, 28, 28), 10)
    rows = layer_rows(model, torch.rand(1, 1, 28, 28))
    bits = [(row.weight_bits, row.input_bits) for row in rows if isinstance(model.get_submodule(row.name), nn.Linear | nn.Conv2d)]
    assert bits == [(32, 32), (1, 1), (1, 1), (32, 32)]
    assert all(layer.pad_value for layer in model.modules() if isinstance(layer, BinaryConv2d))
    totals = network_totals(rows)
    assert (totals["parameters"], totals["binary_weights"]) == (70_778, 64_000)  # as its head says
    assert (totals["binary_macs"], totals["real_macs"], totals["bytes"]) == (3_686_400, 236_160, 36_392)
