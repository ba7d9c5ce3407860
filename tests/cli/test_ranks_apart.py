"""torchrun -m bnn_train, in real processes: how all of them end, and what is said of it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnn_train.cli import ranks_apart
from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint
from bnn_train.runs.run import run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bnn_train"]
AGAIN = "torchrun --standalone --nproc-per-node 2 -m bnn_train"
LONG = ["model.hidden=[8,8]", "trainer.epochs=100000", "data.val_size=100", "hydra.run.dir=run"]

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="finds torchrun's processes in Linux' /proc")


@pytest.fixture
def together(tmp_path):
    """Starts torchrun's two processes with these arguments, in tmp_path."""
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        line = [*TORCHRUN, *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def after_an_epoch(process, folder):
    """torchrun's processes in the order of their ranks, once something is saved."""
    while not (folder / "run" / "times.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def ended(process):
    """(stdout, the lines of stderr that are not torchrun's own), of what ends within a minute and not well."""
    out, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    return out, [line for line in errors.splitlines() if line.startswith("error")]


def check_goes_on(small, folder):
    """That the saved state is whole: one process continues it, by a step."""
    state = checkpoint.load(folder / "checkpoints" / "last.pt")["trainer"]
    steps = len(state["history"]) * 13 + state["step"] + 1
    typed = [f"trainer.max_steps={steps}"]
    config = small(*LONG[:3], *typed)
    assert run(config, folder, typed)["max_steps"] == steps


def test_where_one_is_killed_the_other_says_so_once(together, small, tmp_path):
    process = together(*LONG)
    os.kill(after_an_epoch(process, tmp_path)[1], signal.SIGKILL)
    out, errors = ended(process)
    assert out.count("  1/100000 ") == out.count("run directory: run") == 1
    (said,) = errors
    assert said.startswith("error: process 1 of 2 (from 0) was killed")
    assert said.endswith(f"what was saved stays, continue with: {AGAIN} resume=run")
    check_goes_on(small, tmp_path / "run")


def kill_the_first(process, ranks):
    os.kill(ranks[0], signal.SIGKILL)


def fill_its_disk(process, ranks):
    """A limit on the size of files stands for the disk, as in tests/runs/test_directory.py."""
    resource.prlimit(ranks[0], resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def press_ctrl_c(process, ranks):
    for number in [process.pid, *ranks]:
        os.kill(number, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (kill_the_first, ["error: process 0 of 2 (from 0) was killed"]),
        (fill_its_disk, ["error: file="]),
        (press_ctrl_c, []),
    ],
)
def test_what_ends_one_ends_all_and_is_said_once(together, small, tmp_path, happens, said):
    process = together(*LONG)
    happens(process, after_an_epoch(process, tmp_path))
    out, errors = ended(process)
    assert [line[: len(start)] for line, start in zip(errors, said, strict=True)] == said
    told = out.splitlines()[-2:] if not said else errors
    assert f"continue with: {AGAIN} resume=run" in told[-1] or "free or open it, then continue" in told[-1]
    assert bool(said) or told[0].startswith("SIGINT in epoch")
    check_goes_on(small, tmp_path / "run")


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_and_is_said_once(together):
    _, errors = ended(together("model.hidden=[8,8]", "optimizer=sgd", "optimizer.lr=1e38", "hydra.run.dir=run"))
    assert len(errors) == 1
    assert errors[0].startswith("error: the loss became nan")


@pytest.mark.slow
def test_a_mistake_is_said_once_and_ends_all(together, tmp_path):
    process = together("ste=nonsense")
    out, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert (out + errors).count("nonsense") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_for_one_process(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="one job with several processes"):
        ranks_apart.check(["-m", "seed=0,1"])
    ranks_apart.check(["seed=0"])


@pytest.mark.slow
def test_the_tasks_of_a_submitit_job_train_one_run(command, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra [sweep]")
    launcher = ("hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2", "sweep.name=s")
    found = command("-m", *launcher, "model.hidden=[8,8]", "trainer.epochs=2", "trainer.batch_size=64,1", "seed=0")
    assert found.returncode == 1, found.stderr  # of the second job, which is refused before the tasks have met
    jobs = sorted((tmp_path / "sweeps" / "s").glob("model*"))
    done = json.loads((jobs[1] / "summary.json").read_text())
    assert done["device"].endswith("processes: 2")
    assert (jobs[1] / "train.log").read_text().count("run directory:") == 1
    assert (jobs[1] / ".hydra" / "config.yaml").exists()
    assert "BatchNorm needs two images" in (jobs[0] / "failure.txt").read_text()
