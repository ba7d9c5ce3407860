"""The commands as a user runs them, each in a process of its own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pytest

from bnn_train.cli.compose import typed
from bnn_train.report.lines import resume_argument
from bnn_train.runs.checkpoint import load

ROOT = Path(__file__).parent.parent.parent
SMALL = ("model.hidden=[16,16]", "trainer.epochs=2")


def only_run(folder):
    (run_dir,) = (path.parent for path in folder.glob("*/*/*/checkpoints"))
    return run_dir


def test_train_then_evaluate(command, tmp_path):
    result = command("model=mlp", "ste=clipped", "weights=xnor", *SMALL, COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "result" in result.stdout
    assert "\r" not in result.stderr  # no bar where there is no terminal
    run_dir = only_run(tmp_path)
    summary = json.loads((run_dir / "summary.json").read_text())
    log = (run_dir / "train.log").read_text()
    assert all(piece in log for piece in ("epoch 1/2", "epoch 2/2", "x as much", "test accuracy"))
    first = "mlp on digits, ste=clipped, weights=xnor, optimizer=adam, scheduler=cosine, seed=0"
    assert (log.count(first), result.stdout.count(first)) == (1, 1)
    assert (summary["choices"]["weights"], "method" in summary["choices"]) == ("xnor", False)
    assert (run_dir / ".hydra" / "overrides.yaml").read_text().splitlines() == [
        f"- {o}" for o in ("model=mlp", "ste=clipped", "weights=xnor", *SMALL)
    ]

    code = "from bnn_train.cli.evaluate import main; main()"
    line = [sys.executable, "-c", code, str(run_dir), "--json"]
    evaluated = subprocess.run(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert json.loads(evaluated.stdout)["test_accuracy"] == summary["test_accuracy"]
    line[-2:] = [str(tmp_path)]
    refused = subprocess.run(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: path={tmp_path}: holds no checkpoints/result.pt or last.pt")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[("train", a) for a in (["--help"], ["model=cnn", "--help"], ["trainer.epochs=-1"], ["--cfg", "job"], ["ste=foo"])],
        ("train", ["model.stages=[[8]]"]),
        *[("lab", a) for a in (["--help"], ["protocol=psa", "--help"], ["protocol.samples=1"])],
    ],
)
def test_torch_is_not_loaded_where_nothing_is_trained(name, arguments, tmp_path):
    code = f"""
import sys
sys.argv = ["bnn-{name}", *{arguments!r}]
from bnn_train.cli.{name} import main
try:
    main()
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)


def test_version(command):
    assert command("--version").stdout == f"bnn-train {version('bnn-train')}\n"


def test_help_lists_groups_options_and_commands(command):
    text = command("--help").stdout
    assert "  ste         approx_sign, clamped_grad, clipped" in text
    assert "  experiment  cifar10_cnn" in text
    assert "  method      bayesbinn, binaryconnect" in text
    assert "protocol" not in text
    assert "schema" not in text
    assert 'eval "$(bnn-train -sc install=bash)"' in text
    assert all(f"\n{name} " in text for name in ("bnn-eval", "bnn-export", "bnn-predict", "bnn-report", "bnn-study", "bnn-lab"))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert len(text.splitlines()) <= 52


def test_help_of_a_choice_lists_each_key_with_value_type_range_unit_and_meaning(command, tmp_path):
    text = command("model=cnn", "trainer.epochs=7", "--help").stdout
    assert max(len(line) for line in text.splitlines()) <= 80
    for piece in (
        "== model (cnn) ==",
        "  model.dropout=0.0  (number, [0, 1))\n      probability of zeroing, after the last hidden linear layer",
        "  model.head=flatten  (text, one of flatten, average)",
        "  trainer.epochs=7  (whole number, [1, inf))",
        "  data.crop_padding=0  (whole number or null, [0, inf), pixels)",
        "  seed=0  (whole number, 0 to 2^63 - 1)",
    ):
        assert piece in text
    composed = {
        f"{group}.{key}" for group, values in asdict(typed(["model=cnn"])).items() if isinstance(values, dict) for key in values
    }
    assert {key for key in composed if f"{key}=" not in text} == {"model.name", "eval.mode"} | {
        key for key in composed if key.endswith(".name") and f"{key}=" not in text
    }
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "tiny.yaml").write_text("defaults: [mlp, _self_]\nhidden: [5, 6]\n")
    assert "resnet18, resnet20, tiny" in command("-cd", "my", "--help").stdout
    assert "model.hidden=[5,6]" in command("-cd", "my", "model=tiny", "--help").stdout
    (tmp_path / "my").rename(tmp_path / "my (1)")
    assert "model.hidden=[5,6]" in command("-cd", "my (1)", "model=tiny", "--help").stdout
    assert command("model=tiny", "--help").stderr.startswith("error: model=tiny: must be one of binarynet, cnn,")


def test_an_option_of_ones_own_takes_the_keys_of_the_option_that_it_begins_with(command, tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "tiny.yaml").write_text("defaults: [mlp, _self_]\nhidden: [5, 6]\n")
    result = command("-cd", "my", "model=tiny", "trainer.epochs=1")
    assert "linear2" in result.stdout, result.stderr
    refused = command("-cd", "my", "model=tiny", "model.stages=[[1]]")
    assert refused.stderr.startswith("error: model.stages=[[1]]: model=mlp takes model.hidden")


def test_cfg_job_prints_the_composed_configuration(command):
    result = command("--cfg", "job", "ste=swish_sign", "trainer.epochs=7")
    assert "name: swish_sign" in result.stdout
    assert "epochs: 7" in result.stdout


def test_tab_completion(command):
    line = "bnn-train ste=appr"
    result = command("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)), COMP_CWORD="1")
    assert result.stdout.split() == ["ste=approx_sign"]
    line = "bnn-train s"
    result = command("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)), COMP_CWORD="1")
    assert result.stdout.split() == ["scheduler.", "scheduler=", "seed=", "stages.", "stages=", "ste.", "ste=", "sweep."]


@pytest.mark.parametrize(
    ("argument", "code", "message"),
    [
        # one of each way to the line; tests/cli/test_hydra_errors.py has every mistake
        ("ste=foo", 2, "ste=foo: must be one of approx_sign, clamped_grad, clipped,"),
        ("trainer=2", 2, "trainer=2: must be one of default"),
        ("model.hidden=[16", 2, "model.hidden=[16: the brackets do not match; type model.hidden=[16]"),
        ("--epochs", 2, "--epochs: there is no such flag; did you mean trainer.epochs?"),
        ("--config-dir=nowhere", 2, "--config-dir=nowhere: is not a folder"),
        ("--resolve", 2, "The --resolve flag can only be used in conjunction with --cfg or --help"),
        ("+trainer.epoch=9", 2, "trainer.epoch=9: there is no such key; did you mean trainer.epochs?"),
        ("trainer.epochs=0", 2, "trainer.epochs=0: must be a whole number of at least 1"),
        ("hydra.run.dir=${nope}", 2, "hydra.run.dir=${nope}: there is no key nope"),
        ("data=image_folder", 2, "data.root=data: is not a folder"),
        ("resume=nowhere (1)", 2, "resume=nowhere (1): there is no such run directory or checkpoint"),
        ("init_from=2024_05_12", 2, "init_from=2024_05_12: there is no such file"),
        ("block.name=foo", 2, "block.name=foo: must be one of plain, bireal"),
        (
            "edges.rules=[{layers: 'hid*', what: freeze}]",
            2,
            "edges.rules.layers=hid*: matches no layer; there are linear1",
        ),
        ("edges.rules=[{layers: linear1, what: l1}]", 2, "edges.rules.strength=null: what=l1 needs a strength"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(command, tmp_path, argument, code, message):
    """Also where only the images tell, behind the line that says what would have been trained."""
    result = command(argument, COLUMNS="200")
    assert result.stderr.startswith(f"error: {message}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [line for line in result.stdout.splitlines() if not line.startswith("mlp on ")] == []
    assert result.returncode == code
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_as_yaml_is_named_in_one_line(command, tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yaml").write_text("name: mlp\n\thidden: [16]\n")
    result = command("-cd", "my", "model=mine")
    assert result.stderr == "error: model=mine: my/model/mine.yaml, line 2: holds a tab; YAML is indented with spaces\n"
    assert (result.returncode, result.stdout) == (2, "")
    assert [path.name for path in tmp_path.iterdir()] == ["my"]


def test_a_run_goes_into_the_directory_that_was_typed_and_on_from_there(command, tmp_path):
    directory = "a (1), b=é"
    assert command("hydra.run.dir=" + directory, "trainer.epochs=1", "model.hidden=[16,16]").returncode == 0
    assert (tmp_path / directory / "summary.json").exists()
    (argument,) = shlex.split(resume_argument(directory))
    result = command(argument, "trainer.epochs=2")
    assert "epoch 2/2" in result.stdout, result.stderr
    log = (tmp_path / directory / "train.log").read_text()
    refused = command(argument, "seed=3", "trainer.epochs=1")
    assert refused.stderr.startswith("error: seed=3: the run was started with seed=0; leave seed=3 out to continue")
    refused = command(argument, "trainer.epochs=1")
    assert refused.stderr.endswith("error: trainer.epochs=1: the run has 2 epochs behind it already\n")
    assert "error" not in (tmp_path / directory / "train.log").read_text().removeprefix(log)
    assert {path.name for path in tmp_path.iterdir()} == {directory}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_a_directory_that_cannot_be_written_to(command):
    for key, flag in (("hydra.run.dir", ()), ("hydra.sweep.dir", ("-m",))):
        result = command(*flag, f"{key}=/proc/nowhere", *SMALL)
        assert result.returncode == 2
        assert result.stderr.startswith(f"error: {key}=/proc/nowhere: cannot be written to")
        assert "Traceback" not in result.stderr


def test_divergence_ends_with_one_line(command):
    result = command("optimizer=sgd", "optimizer.lr=1e30", *SMALL)
    assert result.returncode == 1
    assert result.stderr.startswith("error: the loss became nan in epoch 1, step")  # as every error, whatever reads stdout
    assert "error" not in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_cleanly_with_what_was_done_saved(tmp_path, number, code):
    line = [sys.executable, "-m", "bnn_train", "model.hidden=[16,16]", "trainer.epochs=100000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for text in process.stdout:
        if text.startswith("epoch "):
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert f"{signal.Signals(number).name} in epoch" in output
    assert "Traceback" not in output + errors
    run_dir = only_run(tmp_path)
    state = load(run_dir / "checkpoints" / "last.pt")["trainer"]
    done = len(state["history"])
    assert done == len((run_dir / "metrics.jsonl").read_text().splitlines()) >= 1

    assert f"continue with: bnn-train resume={run_dir.relative_to(tmp_path)}" in output
    if number != signal.SIGINT:
        return  # what each has saved is the same: one of them goes on
    before = (run_dir / ".hydra" / "config.yaml").read_bytes()
    line = [*line[:3], f"resume={run_dir}", f"trainer.epochs={done + 1}"]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"continuing after epoch {done}, step {state['step']} of 14" in result.stdout
    assert len((run_dir / "metrics.jsonl").read_text().splitlines()) == done + 1
    assert (run_dir / ".hydra" / "config.yaml").read_bytes() == before
    assert only_run(tmp_path) == run_dir


def test_a_sweep_runs_every_job_reproducibly(command, tmp_path):
    """Five estimators in one process; a job run alone has the same metrics as in the sweep."""
    names = "identity,clipped,tanh,approx_sign,clamped_grad"
    small = ("model.hidden=[16,16]", "trainer.epochs=2")
    result = command("-m", f"ste={names}", *small)
    assert result.returncode == 0, result.stderr
    jobs = {name: next(tmp_path.glob(f"sweeps/ste/*ste={name},*")) for name in names.split(",")}
    assert len(jobs) == len(list(tmp_path.glob("sweeps/ste/*/summary.json"))) == 5
    alone = command("ste=approx_sign", *small, "hydra.run.dir=alone")
    assert alone.returncode == 0, alone.stderr
    assert (tmp_path / "alone/metrics.jsonl").read_bytes() == (jobs["approx_sign"] / "metrics.jsonl").read_bytes()
    metrics = {name: (job / "metrics.jsonl").read_bytes() for name, job in jobs.items()}
    assert len(set(metrics.values())) == 4
    assert (
        metrics["identity"] == metrics["clamped_grad"]
    )  # no gradient of a mean over a batch reaches 1, so clamped_grad clamps nothing here


def test_run_directories_do_not_collide(command, tmp_path):
    names = {command("--cfg", "hydra", "-p", "hydra.run", "--resolve").stdout.split("/")[-1] for _ in range(2)}
    assert len(names) == 2
    assert all(len(name.strip().split("-")[-1]) == 6 for name in names)  # microseconds


def test_the_wheel_carries_the_configs_and_runs_from_any_directory(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"bnn_train", f"bnn_train-{wheel.name.split('-')[1]}.dist-info"}
    packed = {name.removeprefix("bnn_train/") for name in names if name.endswith(".yaml")}
    assert packed == {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    code = "import sys; from bnn_train.cli import compose, train; print(compose.CONFIGS); sys.argv[0] = 'bnn-train'; train.main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    line = [sys.executable, "-c", code, *SMALL]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.stdout.startswith(str(tmp_path / "site" / "bnn_train" / "configs"))
    assert "test accuracy" in result.stdout, result.stderr
