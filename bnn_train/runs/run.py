"""One run: settle the configuration, assemble, fit, write the result. The one place where the parts meet."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bnn_train import device, files, models, plugins, ranks, startup
from bnn_train.binary import ways
from bnn_train.binary.layers import BinaryLayer
from bnn_train.config.data import WITHOUT_VAL
from bnn_train.config.notes import notes
from bnn_train.config.root import Config
from bnn_train.data import balance
from bnn_train.data.batches import eval_batches
from bnn_train.data.splits import Data
from bnn_train.errors import ConfigError, Interrupted
from bnn_train.files import for_people
from bnn_train.models.layer_table import layer_rows
from bnn_train.optim import choice
from bnn_train.report import classes, grid, health, lines, tables
from bnn_train.runs import assemble, checkpoint, directory, fit, follow, interrupt, loggers, resume, teacher, turns
from bnn_train.runs.plan import Part
from bnn_train.runs.summary import Summary, can_be_balanced, ended_by_patience, illnesses, is_best, not_binary_yet, write_result
from bnn_train.training import processes
from bnn_train.training.trainer import Row, Trainer, started

log = logging.getLogger(__name__)

State = dict[str, Any]  # of a checkpoint


def run(
    config: Config,
    run_dir: Path,
    overrides: Sequence[str] | None = None,
    choices: Mapping[str, str] | None = None,
    exported: teacher.Reader | None = None,
    part: Part | None = None,
) -> Summary:
    """Trains as `config` says, into `run_dir`; returns what summary.json holds.

    Where `run_dir` holds a checkpoint, continues that run from its own configuration; `overrides` are what was typed, and say in
    which keys `config` was meant to differ from it (resume.settle). `choices`, option by group, go into the summary. `exported`
    reads exported files, which may teach (deploy/teacher.py). `part`: of a stage, which then says
    less (runs/plan.py). With dry_run nothing is trained or written, and the summary is empty.
    Raises ConfigError before any training, Diverged and Interrupted during
    it; checkpoints already written stay.
    """
    if config.dry_run:
        return _dry_run(config, run_dir, overrides, exported, part)
    with directory.locked(run_dir):
        config, state, summary = _settle(config, run_dir, overrides)
        if summary is not None:
            log.info("%s", lines.finished_line(for_people(run_dir), summary.get("ended", "")))
            return summary
        where = device.choose(config.device)
        loggers.check(config.logger)
        assemble.check(config, where, is_new=state is None)
        choice.check(config, where, _started(state))
        processes.check(config.trainer)
        found = teacher.find(config, run_dir, state is None, exported)
        data = assemble.load_data(config, where)
        if state is not None:
            resume.check_same(state, config, data, where.type)
            for line in [*([] if part else resume.older_meanings(state)), *resume.changed_plugins(state)]:
                log.warning("%s", grid.sentence(f"note: {line}"))
            directory.mark_continued(run_dir)
            overrides, choices = state.get("overrides", overrides), state.get("choices")
        about = {"config": asdict(config), "overrides": list(overrides or ())}
        about |= {"data": resume.data_signature(data), "device": where.type}
        about |= {"plugins": digests} if (digests := plugins.digests(config.plugins)) else {}
        registered = plugins.registered(config) | (found.registered() if found is not None else {})
        about |= {"registered": registered} if registered else {}
        about |= {"choices": dict(choices)} if choices is not None else {}  # not of what has no Hydra, and of older runs
        return _train(config, run_dir, data, where, state, about, found, part)


def _settle(config: Config, run_dir: Path, overrides: Sequence[str] | None) -> tuple[Config, State | None, Summary | None]:
    """(configuration to run with, the state to continue from if any, the summary if nothing is left to do)."""
    state = _state(config, run_dir)
    result = run_dir / "checkpoints" / checkpoint.RESULT
    if state is None and not result.exists():
        return config, None, None
    saved = state or checkpoint.load(result, "resume")
    config = resume.settle(saved, config, overrides)
    summary = directory.read_summary(run_dir)
    if summary is not None and summary.get("status", "finished") == "finished":
        asked = (config.trainer.epochs, config.trainer.max_steps, config.trainer.patience)
        if (summary["epochs"], summary.get("max_steps"), summary.get("patience")) == asked:
            if config.data.root != resume.config_of(saved).data.root:  # a result is one's own only with the same images
                resume.check_data(saved, config, assemble.load_data(config, device.CPU))
            return config, state, summary
    if state is None:
        remedy = "holds a result alone (trainer.keep=result), so the run cannot go on; init_from starts a new one from its weights"
        raise ConfigError("resume", config.resume or run_dir, remedy)
    return config, state, None


def _state(config: Config, run_dir: Path) -> State | None:
    """Where the run in `run_dir` is, or None for a new run. Raises ConfigError where `resume` names no run."""
    file = Path(config.resume or "").expanduser()
    if file.suffix == ".pt":
        named = checkpoint.load(file, "resume")
        if file.resolve().parent != (run_dir / "checkpoints").resolve():
            raise ConfigError("resume", file, "is not in the checkpoints/ of a run directory; init_from starts a new run from it")
        if "trainer" not in named:
            raise ConfigError("resume", file, "is a result, from which nothing is continued; init_from starts a new run from it")
        return named
    state = checkpoint.latest(run_dir / "checkpoints")
    if state is None and config.resume and not (run_dir / "checkpoints" / checkpoint.RESULT).exists():
        raise ConfigError("resume", config.resume, "holds no checkpoints/last.pt; give the directory of a run")
    return state


def _train(
    config: Config,
    run_dir: Path,
    data: Data,
    where: torch.device,
    state: State | None,
    about: State,
    found: teacher.Found | None = None,
    part: Part | None = None,
) -> Summary:
    """The run itself, from its start or from `state` to its end. about: what its checkpoints say besides where it is. found: its
    teacher."""
    part = part or Part(1, 1, [])
    model, edges, optimizer = assemble.assemble(config, data, where, _masks(state))
    taught = teacher.ready(found, config, model, data)
    if found is not None and state is None:
        found.save(run_dir)
    save = _saver(about, run_dir / "checkpoints")
    time_to_save = checkpoint.every(config.trainer.checkpoint_every)
    with interrupt.deferred(ranks.is_one if ranks.count() > 1 else None) as check_interrupt:

        def after_step(trainer: Trainer) -> None:
            check_interrupt()
            if time_to_save():
                trainer.check_finite()
                save(trainer, "last.pt")
            turns.give_way()

        trainer = Trainer(config, model, edges, optimizer, data, after_step)
        if taught is not None:
            taught.teach(trainer)
        layers = layer_rows(model, next(eval_batches(data.train, config.data, 1))[0])
        files.write_text(json.dumps([asdict(row) for row in layers], indent=1) + "\n", run_dir / "network.json")
        _introduce(trainer, layers, run_dir, state is None, taught, part)
        if state is not None:
            with fit.expected(state, model, "resume", for_people(run_dir)):
                trainer.load_state_dict(state["trainer"])
            log.info("continuing after epoch %d, step %d of %d", trainer.epoch, trainer.step, trainer.steps)
        log.info("%s", grid.sentence(trainer.choice.line()))
        if where.type == "cpu" and any(ways.is_large(*product) for product in _products(trainer, layers)) and ways.lack("cpu"):
            why = ways.lack("cpu")
            log.warning("%s", grid.sentence(f"note: large products of signs are torch's, at a part of the speed ({why})"))
        if state is not None and trainer.choice.kind != _started(state):
            log.warning("%s", grid.sentence(f"note: {choice.mixed(_started(state), trainer.choice)}"))
        said: dict[str, str] = {}
        with loggers.opened(config, run_dir, trainer.history, trainer.health.row) as outputs:
            if state is not None:
                checkpoint.set_random_state(state["random"])  # last: nothing may draw between here and the next step
            try:
                with processes.together(lambda: follow.go_on(run_dir, config)), _naming_what_the_machine_lacks(config):
                    if ranks.count() > 1:
                        processes.tell(follow.job(trainer, found, run_dir))
                    last = _fit(trainer, outputs, save, check_interrupt, run_dir, said)
            except Interrupted as stop:
                trainer.check_finite()  # nothing broken may replace what is saved
                save(trainer, "last.pt")
                log.warning(
                    "%s in epoch %d after step %d of %d: saved last.pt", stop, trainer.epoch + 1, trainer.step, trainer.steps
                )
                for line in not_binary_yet(trainer, run_dir):
                    log.warning("%s", grid.sentence(f"note: {line}"))
                whole = for_people(directory.whole(run_dir))
                log.warning("continue with: %s %s", startup.command(), lines.resume_argument(whole, config.plugins))
                raise
            told = {} if taught is None else taught.told(trainer, run_dir)
            outputs.summary = summary = write_result(trainer, last, layers, about, run_dir, told)
    directory.tidy(run_dir, config.trainer.keep)
    part.said.extend((part.number, line) for line in said.values())
    if part.number < part.count:
        return summary
    if edges.masks:
        log.info("\n%s", tables.edges_table(edges.rows()))
    if part.count == 1:
        log.info("\n%s\n", tables.result_table(summary, for_people(run_dir)))
    if config.data.name not in WITHOUT_VAL and (by_class := classes.table(summary)):
        log.info("%s\n", by_class)
    if illnesses(trainer, last, at_end=True):
        log.info("%s\n", health.table(trainer.health.row))
    for line in part.new(summary["notes"]) if part.count == 1 else []:
        log.warning("%s", grid.sentence(f"note: {line}"))
    return summary


@contextmanager
def _naming_what_the_machine_lacks(config: Config) -> Iterator[None]:
    """Turns what can go wrong in training by the machine's fault into a ConfigError with what to change."""
    remedy = "lower it, or trainer.eval_batch_size, or choose a smaller model; what was saved stays"
    try:
        with device.memory_for("trainer.batch_size", config.trainer.batch_size, remedy):
            yield
    except Exception as error:
        if not (config.trainer.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))):
            raise
        gist = str(error).strip().partition("\n")[0]
        raise ConfigError("trainer.compile", True, f"torch could not compile the network ({gist}); leave it out") from error


def _fit(
    trainer: Trainer,
    outputs: loggers.Outputs,
    save: Callable[[Trainer, str], None],
    check_interrupt: Callable[[], None],
    run_dir: Path,
    said: dict[str, str],
) -> Row:
    """Trains to the end; saves and reports each epoch. Returns the row of the network that the trainer then holds.

    said: gets what was said of its layers on the way, by illness.
    """
    row = trainer.history[-1] if trainer.history else {}
    clock = time.perf_counter()
    times = directory.last_time(run_dir)  # else the little that is left of an epoch would say how long the others take
    for row in trainer.fit():
        if trainer.step == 0 and is_best(trainer, row):
            save(trainer, "best.pt")  # before last.pt: a crash between the two repeats the epoch, and writes the same again
        save(trainer, "last.pt")
        outputs.write(row, trainer.health.row)
        times.append(trainer.speed)
        directory.add_time(run_dir, row["epoch"], *trainer.speed, time.perf_counter() - clock, trainer.waited)
        clock = time.perf_counter()
        config = trainer.config.trainer
        end = None if config.max_steps is None else config.max_steps / trainer.steps
        log.info("%s", lines.epoch_line(row, times, config.epochs, trainer.steps * config.batch_size, end))
        _warn(trainer, row, said)
        check_interrupt()
    return row


def _warn(trainer: Trainer, row: Row, said: dict[str, str]) -> None:
    """Says of each illness, once, that it is there, as soon as it is certain."""
    for illness, line in illnesses(trainer, row, at_end=False).items():
        if illness not in said:
            said[illness] = line
            log.warning("%s", grid.sentence(f"note: {line}"))


def _saver(about: dict[str, Any], folder: Path) -> Callable[[Trainer, str], None]:
    """Saves all that a run needs to go on, under a name in checkpoints/. about: what does not change while it trains."""

    def save(trainer: Trainer, name: str) -> None:
        everything = {**about, "trainer": trainer.state_dict(), "random": checkpoint.random_state()}
        checkpoint.save(everything, folder / name, keep=folder / "previous.pt" if name == "last.pt" else None)

    return save


def _started(state: State | None) -> str | None:
    return None if state is None else started(state["trainer"])


def _products(trainer: Trainer, layers: list[Any]) -> list[tuple[int, int]]:
    """Of each layer with two binary factors its inputs and the multiplications of a product (binary/ways.py)."""
    inputs = {name: module.weight.shape[1] for name, module in trainer.model.named_modules() if isinstance(module, BinaryLayer)}
    images = min(trainer.config.trainer.batch_size, ways.COUNTED)
    return [(inputs[row.name], row.binary_macs * images) for row in layers if row.binary_macs]


def _masks(state: State | None) -> dict[str, Any] | None:
    return None if state is None else state["trainer"].get("edges", {})


def _introduce(
    trainer: Trainer, layers: list[Any], run_dir: Path, new: bool, taught: teacher.Taught | None = None, part: Part | None = None
) -> None:
    """What is about to be trained, on what, where. Of stages the network of the first and the last, and the images once."""
    config, data, part = trainer.config, trainer.data, part or Part(1, 1, [])
    if part.number in (1, part.count):
        log.info("%s\n", tables.network_table(layers))
    if trainer.edges.masks and new:
        log.info("%s\n", tables.edges_table(trainer.edges.rows()))
    sizes = (len(data.train), len(data.val) if data.val else 0, len(data.test))
    if part.number == 1:
        log.info("%s", lines.data_line(config.data.name, sizes, data.image_shape, len(data.classes)))
    if part.number == 1 and config.data.name not in WITHOUT_VAL:
        log.info("%s", lines.classes_line(data.classes, balance.counts(data.train, len(data.classes)).tolist()))
    if taught is not None:
        log.info("%s", grid.sentence(taught.line()))
    if not config.dry_run:
        log.info("run directory: %s", for_people(run_dir))
    told = [*notes(config, trainer.steps), *models.remarks(config, trainer.model)]
    if uneven := balance.uneven(data.train, data.classes) if can_be_balanced(config) else "":
        told.append(f"{uneven}; trainer.class_weights=balanced lets every class count the same")
    for line in part.new(told):
        log.info("%s", grid.sentence(f"note: {line}"))
    if config.trainer.compile:
        log.info("the first step compiles the network, which takes some seconds")


def _dry_run(
    config: Config, run_dir: Path, overrides: Sequence[str] | None, exported: teacher.Reader | None, part: Part | None
) -> Summary:
    """All that comes before training, and a line that says what would be done. Leaves the run directory as it was."""
    target = Path(config.resume).expanduser() if config.resume else run_dir
    target = target.parent.parent if target.suffix == ".pt" else target
    config, state, summary = _settle(config, target, overrides)
    if summary is not None and state is None:
        log.info("%s", lines.plan_line(1, 1, 1, None))  # a result alone, of which nothing is left to do
        return {}
    where = device.choose(config.device)
    loggers.check(config.logger)
    assemble.check(config, where, is_new=state is None)
    choice.check(config, where, _started(state))
    found = teacher.find(config, target, state is None, exported)
    data = assemble.load_data(config, where)
    if state is not None:
        resume.check_same(state, config, data, where.type)
    model, edges, optimizer = assemble.assemble(config, data, where, _masks(state))
    trainer = Trainer(config, model, edges, optimizer, data)
    taught = teacher.ready(found, config, model, data)
    layers = layer_rows(model, next(eval_batches(data.train, config.data, 1))[0])
    _introduce(trainer, layers, target, state is None, taught, part)
    if state is not None:
        with fit.expected(state, model, "resume", for_people(target)):
            trainer.load_state_dict(state["trainer"])
    log.info("%s", grid.sentence(trainer.choice.line()))
    log.info("%s", grid.sentence(ways.line(_products(trainer, layers), where.type, config.trainer.compile)))
    last = trainer.number if ended_by_patience(trainer) else config.trainer.max_steps
    log.info("%s", lines.plan_line(trainer.number, trainer.steps, config.trainer.epochs, last))
    return {}
