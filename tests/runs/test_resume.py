"""A run that was cut anywhere and continued equals one that was not: bit for bit over last.pt and metrics.jsonl."""

import copy
import itertools
import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace

import pytest
import torch

from bnn_train.data import datasets
from bnn_train.data.splits import Split
from bnn_train.errors import ConfigError
from bnn_train.kernels import elements
from bnn_train.runs import checkpoint, interrupt, resume
from bnn_train.runs import run as run_module
from bnn_train.runs.run import run
from bnn_train.training.trainer import Trainer


class Killed(BaseException):
    """Stands for SIGKILL: nothing on the way handles it."""


def kill_after(monkeypatch, steps):
    """The run dies after its `steps`-th step, before anything that follows it."""
    count = itertools.count(1)

    class Mortal(Trainer):
        def __init__(self, *args):
            *others, after_step = args

            def step(trainer):
                if next(count) == steps:
                    raise Killed
                after_step(trainer)

            super().__init__(*others, step)

    monkeypatch.setattr(run_module, "Trainer", Mortal)


def differences(a, b, path=""):
    """Paths at which two checkpoint states are not equal to the last bit."""
    if isinstance(a, dict):
        return [d for key in {*a, *b} for d in differences(a.get(key), b.get(key), f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, pair in enumerate(zip(a, b, strict=True)) for d in differences(*pair, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
    return [] if same else [path]


def state_of(run_dir):
    return checkpoint.load(run_dir / "checkpoints" / "last.pt")


def split_run_differences(config, folder, monkeypatch, cut, fresh):
    """Runs whole, and again with a death after `cut` steps; `fresh()` stands for the new process."""
    run(config, folder / "whole")
    kill_after(monkeypatch, cut)
    with pytest.raises(Killed):
        run(config, folder / "split")
    monkeypatch.undo()
    fresh()
    run(config, folder / "split")
    found = differences(state_of(folder / "whole"), state_of(folder / "split"))
    results = [checkpoint.load(folder / part / "checkpoints" / "result.pt") for part in ("whole", "split")]
    found += differences(*results, path="result")
    for name in ("metrics.jsonl", "health.jsonl"):
        whole, split = ((folder / part / name).read_bytes() for part in ("whole", "split"))
        found += [] if whole == split else [name]
    return found


def disturb():
    torch.manual_seed(999)
    torch.rand(10)


MLP = (
    "model.hidden=[8,8]",
    "model.dropout=0.3",
    "trainer.epochs=3",
    "trainer.batch_size=200",
    "data.crop_padding=1",
)  # 7 steps an epoch
CNN = (
    "model=cnn",
    "model.stages=[[4],[4]]",
    "model.hidden=[8]",
    "trainer.epochs=2",
    "trainer.batch_size=400",
    "data.flip=true",
)  # 3
RESNET = ("model=resnet20", "trainer.epochs=2", "trainer.batch_size=400", "data.train_limit=1300")  # 3
KERNELS = "trainer.step=kernels"
NEEDS_KERNELS = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")
SCHEDULERS = ("constant", "step", "multistep", "exponential", "linear", "cosine", "onecycle")  # each a function of the step alone
PARTS = [
    *((MLP, "adam", scheduler) for scheduler in SCHEDULERS),
    *((CNN, "sgd", scheduler) for scheduler in ("cosine", "onecycle")),
    (MLP, "sgd", "linear"),
    (CNN, "adam", "exponential"),
]
CASES = [
    *[(*m, f"optimizer={o}", f"scheduler={s}", "scheduler.warmup=1", "ste=ede", "ste.stochastic=true") for m, o, s in PARTS],
    (*MLP, "ste=tanh", "ste.stochastic=true"),
    (*MLP, "ste=ede", "ste.stochastic=true", "data.val_size=100", "weights.clip=0.1", "trainer.class_weights=balanced"),
    (*MLP, "ste=reste", "optimizer=adamw", "trainer.label_smoothing=0.1", "trainer.clip_grad_norm=1", "data.cutout=2"),
    (*CNN, "optimizer=adam", "ste=approx_sign", "ste.stochastic=true"),
    (*CNN, "optimizer=sgd", "ste=reste", "data.cutout=3", "data.val_size=100"),
    (*MLP, "experiment=edges_prune", "edges.rules.0.ramp=[0,2]", "optimizer.weight_decay=0.01"),
    (*CNN, "experiment=edges_frozen", "edges.rules.0.layers='*'", "optimizer=bayesbinn"),
    (*MLP, "experiment=edges_l1", "optimizer=sgd"),
    (*MLP, "trainer.precision=fast", "ste.stochastic=true"),
    (*CNN, "trainer.precision=fast", "optimizer=sgd", "ste=tanh", "eval=ensemble"),
    (*MLP, "weights.prepare=standardise", "weights.scaling=power_of_two", "weights.centre=true"),
    (*CNN, "weights.prepare=quantile", "weights.tau_end=0.99", "weights.scaling=learned", "trainer.precision=fast"),
    (*CNN, "weights.prepare=centre", "weights.scaling=mean", "experiment=edges_prune", "edges.rules.0.ramp=[0,1]", "block=bireal"),
    (*MLP, "weights=stompp", "weights.ste=ede", "data.val_size=100"),
    (
        *CNN,
        "weights=stompp",
        "weights.refresh=0",
        "optimizer=sgd",
        "trainer.precision=fast",
        "experiment=edges_prune",
        "edges.rules.0.ramp=[0,1]",
    ),
    *[(*CNN, f"method={name}") for name in ("xnor", "reactnet", "recu")],
    (*MLP, "trainer.ema=0.9", "trainer.recalibrate=true", "data.mixup=0.3", "data.val_size=100", "ste=tanh", "ste.stochastic=true"),
    (*CNN, "trainer.ema=0.7", "trainer.recalibrate=true", "trainer.result=recalibrated", "data.mixup=1", "weights=stompp"),
    (*RESNET, "ste=approx_sign", "optimizer=sgd"),
    (*MLP, "optimizer=bop", "optimizer.scheduled=[gamma,threshold]"),
    (*CNN, "optimizer=bop"),
    (*MLP, "optimizer=bayesbinn", "ste=reinmax"),
    (*CNN, "optimizer=bayesbinn", "data.val_size=100", "eval=ensemble"),
    (*MLP, "weights=stochastic", "weights.noise=uniform", "weights.kl=0.1", "ste=gumbel", "ste.hard=false", "eval=ensemble"),
    pytest.param((*MLP, KERNELS, "experiment=edges_prune", "edges.rules.0.ramp=[0,2]", "trainer.ema=0.9"), marks=NEEDS_KERNELS),
    pytest.param((*CNN, KERNELS, "trainer.precision=fast", "optimizer=sgd", "data.val_size=100"), marks=NEEDS_KERNELS),
]


@pytest.mark.parametrize("overrides", CASES, ids=lambda o: o[0].split("=")[1] + " " + " ".join(x for x in o if x not in MLP + CNN))
def test_cut_within_an_epoch_and_at_its_end(compose, tmp_path, monkeypatch, overrides):
    """With a checkpoint every 2 steps, dying after an odd one: the last step is done again. And dying at an epoch's first step."""
    config = compose(*overrides, "trainer.checkpoint_every=2")
    steps_per_epoch = 7 if overrides[0] == MLP[0] else 3
    assert split_run_differences(config, tmp_path / "within", monkeypatch, 5, disturb) == []
    assert split_run_differences(compose(*overrides), tmp_path / "end", monkeypatch, steps_per_epoch + 1, disturb) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile takes a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("precision", ["float32", "fast"])
@pytest.mark.parametrize("overrides", [MLP, CNN], ids=["mlp", "cnn"])
def test_a_compiled_run_continues_exactly(compose, tmp_path, monkeypatch, overrides, precision):
    options = ("trainer.compile=true", f"trainer.precision={precision}", "ste=tanh", "ste.stochastic=true")
    config = compose(*overrides, *options, "trainer.checkpoint_every=2")

    def fresh():
        disturb()
        torch._dynamo.reset()  # a new process compiles anew

    torch._dynamo.reset()
    assert split_run_differences(config, tmp_path, monkeypatch, 5, fresh) == []


@pytest.mark.parametrize(("overrides", "cut"), [*((MLP, cut) for cut in (1, 3, 4, 7, 8)), *((CNN, cut) for cut in (1, 3, 4, 6))])
def test_cut_anywhere_with_a_checkpoint_at_each_epochs_end(compose, tmp_path, monkeypatch, overrides, cut):
    config = compose(*overrides, "ste=ede", "ste.stochastic=true", "data.val_size=100")
    assert split_run_differences(config, tmp_path, monkeypatch, cut, disturb) == []


def test_without_the_random_state_the_equality_fails(compose, tmp_path, monkeypatch):
    """The negative: what the tests above compare does depend on what is restored."""
    config = compose(*MLP, "trainer.checkpoint_every=2")

    def forget():
        disturb()
        monkeypatch.setattr(checkpoint, "set_random_state", lambda state: None)

    assert "metrics.jsonl" in split_run_differences(config, tmp_path, monkeypatch, 5, forget)


@pytest.mark.parametrize("key", ["optimizer", "losses", "step", "correct", "average"])
def test_every_part_of_the_state_is_needed(compose, tmp_path, monkeypatch, key):
    config = compose(*MLP, "trainer.checkpoint_every=2", "trainer.ema=0.9")
    original = Trainer.load_state_dict

    def forget():
        def load(self, state):
            fresh = copy.deepcopy(self.state_dict())
            original(self, {**state, key: fresh[key], **({"losses": fresh["losses"]} if key == "step" else {})})

        if key == "losses":

            def load(self, state):
                original(self, state)
                self.losses.zero_()

        monkeypatch.setattr(Trainer, "load_state_dict", load)

    assert split_run_differences(config, tmp_path, monkeypatch, 5, forget)


@pytest.mark.parametrize(("stop", "epoch", "step"), [(10, 1, 2), (7, 0, 7), (21, 2, 5)])
def test_a_stop_between_steps_saves_that_step(compose, tmp_path, monkeypatch, stop, epoch, step):
    """SIGINT, as the handler sees it: the step is finished, saved, and the run continues to the same end."""
    config = compose(*MLP)
    run(config, tmp_path / "whole")
    calls = itertools.count(1)

    def check():
        if next(calls) == stop:
            raise interrupt.Interrupted(2)

    monkeypatch.setattr(interrupt, "deferred", lambda agree: nullcontext(check))
    with pytest.raises(interrupt.Interrupted):
        run(config, tmp_path / "split")
    state = state_of(tmp_path / "split")["trainer"]
    assert (len(state["history"]), state["step"]) == (epoch, step)
    monkeypatch.undo()
    disturb()
    run(config, tmp_path / "split")
    assert differences(state_of(tmp_path / "whole"), state_of(tmp_path / "split")) == []


def test_rows_beyond_the_checkpoint_are_cut(small, tmp_path):
    """A crash between the metrics file and the checkpoint, or half a line: every epoch is there once."""
    run(small("trainer.epochs=3", "trainer.keep=all"), tmp_path)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "checkpoints" / "previous.pt").rename(tmp_path / "checkpoints" / "last.pt")
    (tmp_path / "summary.json").unlink()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "lr": 0.0')
    run(small("trainer.epochs=3"), tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_a_finished_run_is_left_alone_and_can_be_extended(small, tmp_path):
    first = run(small(), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert run(small(), tmp_path) == first
    assert files == {path: path.stat().st_mtime_ns for path in files}
    longer = run(small("trainer.epochs=4"), tmp_path, overrides={"trainer.epochs"})
    assert (longer["epoch"], len((tmp_path / "metrics.jsonl").read_text().splitlines())) == (4, 4)
    with pytest.raises(ConfigError, match=r"trainer\.epochs=3: the run has 4 epochs behind it already"):
        run(small("trainer.epochs=3"), tmp_path, overrides={"trainer.epochs"})
    with pytest.raises(ConfigError, match=r"seed=5: the run was started with seed=0"):  # a run of its own, in the wrong directory
        run(small("trainer.epochs=3", "seed=5"), tmp_path, overrides=["trainer.epochs=3", "seed=5"])


@pytest.mark.parametrize("left", [None, b"", b'{"status": "fin', b"\xff\xfe"])
def test_a_lost_or_damaged_summary_is_written_again(small, tmp_path, left):
    summary = run(small(), tmp_path)
    (tmp_path / "summary.json").unlink()
    if left is not None:
        (tmp_path / "summary.json").write_bytes(left)
    assert run(small(), tmp_path) == summary


def test_settle_takes_the_stored_configuration(small):
    stored = {"config": asdict(small("ste=tanh", "seed=4")), "trainer": {"history": []}}
    assert resume.settle(stored, small(), overrides=()) == small("ste=tanh", "seed=4")
    free = ("data.root=elsewhere", "logger=tensorboard", "device=cpu", "trainer.checkpoint_every=5")
    assert resume.settle(stored, small(*free), overrides={f.split("=")[0] for f in free}) == small("ste=tanh", "seed=4", *free)
    resume.settle(stored, small("ste=tanh"), overrides={"ste"})


@pytest.mark.parametrize(
    ("overrides", "named", "message"),
    [
        (["seed=1"], {"seed"}, r"seed=1: the run was started with seed=0"),
        (["ste=tanh"], {"ste"}, r"ste=tanh: the run was started with ste=clipped"),
        (["ste=tanh"], {"ste=tanh"}, r"^ste=tanh: the run was started with ste=clipped; leave ste=tanh out"),
        (["optimizer.lr=0.5"], {"optimizer.lr"}, r"optimizer\.lr=0\.5: the run was started with optimizer\.lr=0\.01"),
        (
            ["method=bop", "model=mlp"],
            {"method=bop"},
            r"^method=bop: the run was started with weights=sign, weights\.clip=1\.0, optimizer=adam; leave method=bop out",
        ),
        (["experiment=mnist_mlp"], {"experiment=mnist_mlp"}, r"^experiment=mnist_mlp: the run was started with data=digits,"),
        (["experiment=mnist_mlp"], {"experiment"}, r"data=mnist: the run was started with data=digits"),
        (
            ["seed=1", "model.hidden=[5]"],
            None,
            r"model\.hidden=\[5\].*model\.hidden=\[16,16\], seed=0; leave model\.hidden=\[5\] and seed=1 out",
        ),
    ],
)
def test_settle_refuses_by_name_what_disagrees(small, compose, overrides, named, message):
    stored = {"config": asdict(small()), "trainer": {"history": []}}
    with pytest.raises(ConfigError, match=message):
        resume.settle(stored, compose("model.hidden=[16,16]", "trainer.epochs=2", *overrides), named)


def test_settle_takes_a_method_for_the_groups_that_methods_speak_of(compose):
    """So that the method of a run may be typed again, and says nothing of how long it is, or of a seed."""
    stored = {"config": asdict(compose("method=bayesbinn", "trainer.epochs=3", "seed=4")), "trainer": {"history": []}}
    assert resume.settle(stored, compose("method=bayesbinn"), {"method"}) == compose(
        "method=bayesbinn", "trainer.epochs=3", "seed=4"
    )
    with pytest.raises(ConfigError, match=r"^method=bnn: the run was started with ste=none"):
        resume.settle(stored, compose("method=bnn", "model=mlp"), {"method=bnn", "model=mlp"})


@pytest.mark.parametrize(
    ("first", "now", "expected"),
    [
        (
            ["method=irnet"],
            ["method=xnor"],
            "method=xnor: the run was started with method=irnet; leave method=xnor out to continue, or start a run of its own",
        ),
        (
            ["method=irnet", "seed=1"],
            ["method=xnor", "seed='2'"],
            "method=xnor: the run was started with method=irnet, seed=1; leave method=xnor and seed=2 out to continue, "
            "or start a run of its own",
        ),
        (  # of the same method, the run had other weights: those are what differs
            ["method=irnet", "weights=sign"],
            ["method=irnet"],
            "method=irnet: the run was started with weights.clip=1.0, weights.ste=null, weights.prepare=none and 1 more; "
            "leave method=irnet out to continue, or start a run of its own",
        ),
        (
            ["method=irnet"],
            ["weights=sign"],
            "weights=sign: the run was started with weights.clip=null, weights.ste=ede, weights.prepare=standardise and 1 more; "
            "leave weights=sign out to continue, or start a run of its own",
        ),
        (  # the method is the same, the experiment is not
            ["method=recu", "experiment=edges_l1"],
            ["method=recu", "experiment=mnist_mlp", "model=mlp"],
            "experiment=mnist_mlp: the run was started with experiment=edges_l1",
        ),
    ],
)
def test_a_refusal_names_what_was_typed_and_few_keys_that_the_run_has(compose, first, now, expected):
    stored = {"config": asdict(compose(*first)), "overrides": first, "trainer": {"history": [], "step": 0}, "data": {"train": 1000}}
    with pytest.raises(ConfigError) as refused:
        resume.settle(stored, compose(*now), now)
    assert str(refused.value).startswith(expected)


def test_other_data_or_another_kind_of_device_is_refused(small, tmp_path):
    run(small(), tmp_path)
    state = state_of(tmp_path)
    checkpoint.save({**state, "device": "cuda"}, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(ConfigError, match=r"device=auto: the run was started on cuda"):
        run(small("trainer.epochs=3"), tmp_path, overrides={"trainer.epochs"})
    checkpoint.save({**state, "data": {**state["data"], "digest": "0"}}, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(ConfigError, match=r"other images than the run was started with: as many, but not the same pixels"):
        run(small("trainer.epochs=3"), tmp_path, overrides={"trainer.epochs"})
    checkpoint.save({**state, "data": {**state["data"], "train": 1437}}, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(ConfigError, match=r"the data have changed since the run was started: train was 1437, is 1438"):
        run(small("trainer.epochs=3"), tmp_path, overrides={"trainer.epochs"})


def test_a_damaged_checkpoint_is_named_and_the_older_one_offered(small, tmp_path):
    run(small("trainer.epochs=3", "trainer.keep=all"), tmp_path)
    whole, last = state_of(tmp_path), tmp_path / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    previous = tmp_path / "checkpoints" / "previous.pt"
    with pytest.raises(ConfigError, match=r"resume=.*last\.pt: cannot be read.*is whole: resume=.*previous\.pt"):
        run(small("trainer.epochs=3"), tmp_path)
    (tmp_path / "summary.json").unlink()
    run(small("trainer.epochs=3", "trainer.keep=all", f"resume={previous}"), tmp_path)
    assert differences(whole, state_of(tmp_path)) == []
    last.write_bytes(b"")
    previous.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"last\.pt: cannot be read as a checkpoint: it is cut short, damaged or foreign$"):
        run(small("trainer.epochs=3"), tmp_path)


@pytest.mark.parametrize(("most", "cut"), [(7, 3), (7, 6), (10, 3), (10, 6), (10, 9), (21, 3), (21, 9)])
def test_a_run_that_ends_after_so_many_steps(compose, tmp_path, monkeypatch, most, cut):
    """Also within an epoch; cut and continued it is the same, and so is a shorter one that is made longer."""
    config = compose(*MLP, "trainer.checkpoint_every=2", f"trainer.max_steps={most}", "data.val_size=100", "ste.stochastic=true")
    assert split_run_differences(config, tmp_path, monkeypatch, cut, disturb) == []
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    steps = 6  # of an epoch of 1,338 images
    assert len(rows) == -(-min(most, 18) // steps)
    assert rows[-1].get("steps", steps) == (min(most, 18) - 1) % steps + 1

    run(compose(*MLP, "data.val_size=100", "ste.stochastic=true", "trainer.max_steps=4"), tmp_path / "longer")
    run(compose(*MLP, f"trainer.max_steps={most}"), tmp_path / "longer", overrides={"trainer.max_steps"})
    assert (tmp_path / "longer" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    found = [state_of(tmp_path / name)["trainer"] for name in ("longer", "whole")]
    assert differences(*found) == []
    with pytest.raises(ConfigError, match=r"trainer\.max_steps=3: the run has \d+ steps behind it already"):
        run(compose(*MLP, "trainer.max_steps=3"), tmp_path / "longer", overrides={"trainer.max_steps"})


STALLS = (
    *("data.val_size=180", "data.train_limit=600", "trainer.batch_size=100", "trainer.epochs=9"),
    *("scheduler=exponential", "scheduler.gamma=4"),
)


def rows_of(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_patience_ends_a_run_and_a_larger_one_continues_it_exactly(small, tmp_path, caplog):
    """As if it had been larger from the start; and null, as if there had been none."""
    caplog.set_level("INFO")
    accuracies = [row["val_accuracy"] for row in (run(small(*STALLS), tmp_path / "free"), rows_of(tmp_path / "free"))[1]]
    short = run(small(*STALLS, "trainer.patience=1"), tmp_path / "run")
    end = next(i for i in range(1, 9) if accuracies[i] <= max(accuracies[:i])) + 1
    assert end < 7
    assert len(rows_of(tmp_path / "run")) == end
    why = f"after epoch {end}: no higher accuracy on the held-out images for 1 epoch, trainer.patience=1"
    assert (short["status"], short["ended"]) == ("finished", why)
    assert why in " ".join(caplog.text.split())
    assert run(small(*STALLS, "trainer.patience=1"), tmp_path / "run") == short
    run(small(*STALLS, "trainer.patience=2"), tmp_path / "two")
    run(small(*STALLS, "trainer.patience=2"), tmp_path / "run", overrides={"trainer.patience"})
    assert differences(*(state_of(tmp_path / name)["trainer"] for name in ("two", "run"))) == []
    assert rows_of(tmp_path / "two") == rows_of(tmp_path / "run")
    with pytest.raises(ConfigError, match=rf"trainer\.patience=1: would have ended the run after epoch {end}, which it has behind"):
        run(small(*STALLS, "trainer.patience=1"), tmp_path / "run", overrides={"trainer.patience"})
    whole = run(small(*STALLS, "trainer.patience=null"), tmp_path / "run", overrides={"trainer.patience"})
    assert "ended" not in whole
    assert differences(*(state_of(tmp_path / name)["trainer"] for name in ("free", "run"))) == []
    assert rows_of(tmp_path / "free") == rows_of(tmp_path / "run")


def test_a_run_that_was_stopped_within_an_epoch_takes_no_patience_that_ended_it_before(small, tmp_path):
    stored = {"config": asdict(small(*STALLS, "trainer.patience=5")), "data": {"train": 600}}
    stored["trainer"] = {"step": 2, "history": [{"epoch": i + 1, "val_accuracy": 0.5} for i in range(3)]}
    asked = small(*STALLS, "trainer.patience=2")
    with pytest.raises(ConfigError, match=r"trainer\.patience=2: would have ended the run after epoch 3"):
        resume.settle(stored, asked, {"trainer.patience"})
    stored["trainer"]["step"] = 0
    assert resume.settle(stored, asked, {"trainer.patience"}) == asked


def test_the_first_epoch_of_a_continued_run_is_taken_to_be_as_long_as_the_last_one(tmp_path):
    from bnn_train.runs.directory import add_time, last_time

    assert last_time(tmp_path) == []
    for epoch, images in [(1, 100), (2, 300)]:
        add_time(tmp_path, epoch, images, 2.0, 3.0)
    with open(tmp_path / "times.jsonl", "a") as file:
        file.write('{"epoch": 3, "im')
    assert last_time(tmp_path) == [(300, 2.0)]


def test_times_of_a_repeated_epoch_count_once(tmp_path):
    from bnn_train.runs.directory import add_time, total_times

    add_time(tmp_path, 1, 100, 1.0, 2.0)
    add_time(tmp_path, 2, 100, 50.0, 60.0)
    add_time(tmp_path, 2, 40, 1.0, 3.0)
    assert total_times(tmp_path) == {"seconds": 5.0, "images_per_second": 70.0}
    with open(tmp_path / "times.jsonl", "a") as file:
        file.write('{"epoch": 3, "ima')  # a crash within a line
    add_time(tmp_path, 3, 40, 1.0, 3.0)  # is lost with it
    add_time(tmp_path, 4, 140, 2.0, 3.0)
    assert total_times(tmp_path) == {"seconds": 8.0, "images_per_second": 70.0}
    assert total_times(tmp_path / "none") == {"seconds": 0, "images_per_second": 0.0}


def test_a_checkpoint_outside_a_run_directory_is_not_continued(small, tmp_path):
    run(small(), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.pt").rename(tmp_path / "copy.pt")
    with pytest.raises(ConfigError, match=r"resume=.*copy\.pt: is not in the checkpoints/ of a run directory; init_from"):
        run(small(f"resume={tmp_path / 'copy.pt'}"), tmp_path / "other")


def test_a_digest_is_of_every_pixel_and_label(small):
    data = datasets.load(small().data, torch.device("cpu"))
    digests = {resume.data_signature(data)["digest"]}
    for changed in ("images", "labels"):
        tensors = {"images": data.test.images.clone(), "labels": data.test.labels.clone()}
        tensors[changed].view(-1)[-1] += 1
        digests.add(resume.data_signature(replace(data, test=Split(**tensors)))["digest"])
    assert len(digests) == 3


def test_a_finished_run_is_the_result_of_its_own_images_alone(small, tmp_path, monkeypatch):
    """The same command with another data.root, which is no part of a job's name, is not answered with this one's figures."""
    run(small(), tmp_path)
    moved = small("data.root=elsewhere")
    assert run(moved, tmp_path, overrides=["data.root=elsewhere"])["status"] == "finished"
    digits = datasets.REGISTRY["digits"]

    def brighter(config):
        arrays = digits.read(config)
        return replace(arrays, train=Split(arrays.train.images + 1, arrays.train.labels))

    monkeypatch.setitem(datasets.REGISTRY, "digits", digits._replace(read=brighter))
    with pytest.raises(ConfigError, match=r"data\.root=elsewhere: these are other images"):
        run(moved, tmp_path, overrides=["data.root=elsewhere"])


def test_a_run_keeps_the_overrides_that_it_was_started_with(small, tmp_path):
    assert run(small(), tmp_path, overrides=["ste=clipped"])["overrides"] == ["ste=clipped"]
    longer = run(small("trainer.epochs=3"), tmp_path, overrides=["resume=x", "trainer.epochs=3"])
    assert (longer["epochs"], longer["overrides"]) == (3, ["ste=clipped"])


def test_the_prior_of_a_run_of_an_older_version_goes_on_as_it_was(small, tmp_path, caplog):
    """weights.kl was 2 * scale times as much; the same command is not refused for it, and one note says so, once."""
    drawn = ("weights=stochastic", "weights.scale=0.25")
    now, then = (*drawn, "weights.kl=2.0"), (*drawn, "weights.kl=4.0")
    run(small(*now, "trainer.keep=all"), tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    path = tmp_path / "old" / "checkpoints" / "last.pt"
    state = state_of(tmp_path / "old")
    state["config"]["weights"]["kl"] = 4.0
    checkpoint.save({**state, "format": 2}, path)
    note = "weights.kl=4.0 of an older version is 2 * weights.scale times as much; the run goes on as it was, which is now "
    note += "weights.kl=2.0"
    assert resume.older_meanings(checkpoint.load(path)) == [note]
    with pytest.raises(ConfigError, match=r"weights\.kl=3\.0: the run was started with weights\.kl=2\.0"):
        run(small(*drawn, "weights.kl=3.0"), tmp_path / "old", overrides=["weights.kl=3.0"])
    with caplog.at_level("WARNING"):
        run(small(*then, "trainer.epochs=3"), tmp_path / "old", overrides=[*then, "trainer.epochs=3"])
        assert note in " ".join(caplog.text.split())
        caplog.clear()
        run(small(), tmp_path / "old", overrides=[])
        run(small("trainer.epochs=3"), tmp_path / "new", overrides=["trainer.epochs=3"])
        assert "older version" not in caplog.text
    old, new = (state_of(tmp_path / name)["trainer"]["model"] for name in ("old", "new"))
    assert differences(old, new) == []


def test_only_the_prior_of_drawn_weights_of_an_older_version_meant_something_else(small):
    for overrides, version, kl in (
        (("weights=stochastic", "weights.kl=1.0"), 3, 1.0),
        (("weights=stochastic", "weights.kl=1.0"), 2, 0.1),
        (("weights=stochastic",), 2, 0.0),
        (("weights=sign",), 2, None),
    ):
        state = {"format": version, "config": asdict(small(*overrides))}
        assert getattr(resume.config_of(state).weights, "kl", None) == kl
        assert len(resume.older_meanings(state)) == (kl == 0.1)
