"""A run in stages: one run directory, in which each stage is an ordinary run of its own, and at the top what the last one gave."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bnn_train import files, plugins
from bnn_train.config.checks import flat, nested, within
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.root import EXTENDS, FREE, Config, typed
from bnn_train.config.stages import NAMED, name_of_override, of_stage
from bnn_train.errors import ConfigError
from bnn_train.files import for_people
from bnn_train.report import grid, lines, tables
from bnn_train.runs import checkpoint, directory, plan, resume, stage_checks, teacher
from bnn_train.runs.plan import Part, Plan, Stage
from bnn_train.runs.run import run
from bnn_train.runs.summary import Summary

log = logging.getLogger(__name__)

_TAKEN_OVER = (*FREE, "plugins")  # what a stage that goes on has as the run has it now
_COPIED = ("network.json", "metrics.jsonl", "health.jsonl", "predictions.npz")  # of the last stage, to the top


def run_all(
    config: Config,
    stages: Sequence[Stage],
    run_dir: Path,
    overrides: Sequence[str],
    choices: Mapping[str, str] | None = None,
    exported: teacher.Reader | None = None,
) -> Summary:
    """Trains as `run` does, or where `config` has stages, all of these (cli/stages.py), one after the other.

    A run in stages goes on where it was, with the stages that it was started with. Raises as `run` does.
    """
    whole = _whole(config, run_dir)
    goes_on = directory.has_stages(whole)
    if not goes_on and (not stages or directory.holds_run(whole)):  # `run` says of one without stages that it has none
        if not config.dry_run:
            with directory.locked(run_dir):
                (run_dir / directory.STAGES).unlink(missing_ok=True)  # of one that was refused before its first step
        return run(config, run_dir, list(overrides), choices, exported)
    plain = None if choices is None else dict(choices)
    planned = _continued(config, whole, overrides) if goes_on else Plan(config, list(overrides), plain, list(stages))
    if config.dry_run:
        return _dry_run(planned, whole, exported)
    with directory.locked(run_dir):
        summary = directory.read_summary(run_dir)
        if summary is None:
            stage_checks.check(planned, run_dir, exported)
            stage_checks.check_same(planned, run_dir)
            if goes_on:
                _say_what_meant_something_else(run_dir)
            with _written(planned, run_dir):
                said: list[tuple[int, str]] = []
                for number in range(1, len(planned.stages) + 1):
                    _run_stage(planned, number, run_dir, config.resume, exported, said)
            summary = _put_at_the_top(planned, run_dir)
            log.info("\n%s\n", tables.stages_table(summary["stages"]))
            log.info("%s\n", tables.result_table(summary, for_people(run_dir)))
            for line in _notes(planned, run_dir, said):
                log.warning("%s", grid.sentence(f"note: {line}"))
        else:
            log.info("%s", lines.stages_finished_line(for_people(run_dir)))
    return summary


def _whole(config: Config, run_dir: Path) -> Path:
    """The directory of the run, which of a dry run that is to go on is another one than its own."""
    if config.resume is None:
        return run_dir
    named = Path(config.resume)
    return directory.whole(named.parent.parent if named.suffix == ".pt" else named)


def _continued(asked: Config, run_dir: Path, overrides: Sequence[str]) -> Plan:
    """The run's own stages, with what `asked` changes of it by right: the FREE keys, and where its plugins lie."""
    found = plan.read(run_dir)
    stored = resume.config_of(found)
    for key in EXTENDS:
        value, before = (getattr(each.trainer, key.removeprefix("trainer.")) for each in (asked, stored))
        if value != before and within(key, list(map(name_of_override, overrides))):
            remedy = "a run in stages is not extended, since each of them starts from where the one before has ended"
            raise ConfigError(key, value, f"{remedy}; leave it out to continue, or start a new run")
    now = resume.settle(found, asked, overrides)
    before, after = (flat({**asdict(each), "logger": {"": asdict(each)["logger"]}}) for each in (stored, now))
    changed = {key.removesuffix("."): after[key] for key in after if within(key, _TAKEN_OVER) and after[key] != before.get(key)}
    stages = [Stage(each["overrides"], _with(resume.config_of(each), changed, now), each["choices"]) for each in found["stages"]]
    return Plan(now, found["overrides"], found["choices"], stages)


def _say_what_meant_something_else(run_dir: Path) -> None:
    """Each line once for all stages, which say nothing of it themselves."""
    found = plan.read(run_dir)
    for line in dict.fromkeys(line for each in (found, *found["stages"]) for line in resume.older_meanings(each)):
        log.warning("%s", grid.sentence(f"note: {line}"))


def _with(config: Config, changed: Mapping[str, Any], now: Config) -> Config:
    """A stage's configuration with those keys of the run's that are other ones now; of loggers all."""
    tree = {key: value for key, value in flat(asdict(config)).items() if not within(key, ["logger"])}
    tree |= {key: value for key, value in changed.items() if not within(key, ["logger"])}
    return typed({**nested(tree), "logger": asdict(now)["logger"]})


@contextmanager
def _written(planned: Plan, run_dir: Path) -> Iterator[None]:
    """With the plan in its file. What is refused changes nothing: it may have named another device, or other images."""
    file = run_dir / directory.STAGES
    before = file.read_text(encoding="utf-8") if directory.has_stages(run_dir) else None
    plan.write(planned, run_dir)
    try:
        yield
    except ConfigError:
        if before is not None:
            files.write_text(before, file)
        raise


def _ready(config: Config, run_dir: Path) -> Config:
    """With the directories of earlier stages in place of their names, wherever the run lies now."""

    def path(name: str) -> str:
        return str(run_dir / name) if NAMED.fullmatch(name) else name

    distill = config.distill
    if isinstance(distill, TeacherConfig):
        distill = replace(distill, teacher=path(distill.teacher))
    return replace(config, init_from=None if config.init_from is None else path(config.init_from), distill=distill)


def _notes(planned: Plan, run_dir: Path, said: Sequence[tuple[int, str]]) -> list[str]:
    """What the stages' summaries say besides their figures, each once, and of earlier ones with the stage that it is of."""
    found: dict[str, list[int]] = {}
    count = len(planned.stages)
    for number in range(1, count + 1):
        for note in (directory.read_summary(directory.stage(run_dir, number)) or {}).get("notes", []):
            if (number, note) not in said:
                found.setdefault(note, []).append(number)
    return [note if count in of else f"stage {', '.join(map(str, of))}: {note}" for note, of in found.items()]


def _run_stage(
    planned: Plan, number: int, run_dir: Path, resumed: str | None, exported: teacher.Reader | None, said: list[tuple[int, str]]
) -> None:
    """Trains a stage from its start or from where it was to its end; nothing where it has ended. said: the notes that were."""
    stage, folder, count = planned.stages[number - 1], directory.stage(run_dir, number), len(planned.stages)
    file = None if resumed is None or not resumed.endswith(".pt") else Path(resumed)
    summary = directory.read_summary(folder)
    if summary is None:
        log.info("%s", lines.stage_line(number, count, stage.config, stage.choices))
        config, part = _ready(stage.config, run_dir), Part(number, count, said)
        if directory.holds_run(folder):
            if file is not None and file.resolve().parent == (folder / "checkpoints").resolve():
                config = replace(config, resume=str(file), init_from=None)
            run(config, folder, list(_TAKEN_OVER), None, exported, part)
        else:
            run(config, folder, [*planned.overrides, *stage.overrides], stage.choices, exported, part)
        summary = directory.read_summary(folder)
        assert summary is not None
    log.info("%s\n", lines.stage_ended_line(number, count, summary))


def _put_at_the_top(planned: Plan, run_dir: Path) -> Summary:
    """The last stage's network and what is said of it, the summary last: a crash before it repeats all."""
    count = len(planned.stages)
    folders = [directory.stage(run_dir, number) for number in range(1, count + 1)]
    summaries = [directory.read_summary(folder) or {} for folder in folders]
    whose = {"overrides": planned.overrides} | ({} if planned.choices is None else {"choices": planned.choices})
    for name in _COPIED:
        if (folders[-1] / name).exists():
            with open(folders[-1] / name, "rb") as source:
                files.write(run_dir / name, lambda target, source=source: shutil.copyfileobj(source, target))  # type: ignore[misc]
    result = checkpoint.load(folders[-1] / "checkpoints" / checkpoint.RESULT)
    earlier = [(n, each) for n, stage in enumerate(planned.stages[:-1], 1) for each in plugins.registered(stage.config).items()]
    registered = {f"stages=stage{number} {option}": of for number, (option, of) in earlier} | result.get("registered", {})
    whole = {**result, **whose, "stages": count} | ({"registered": registered} if registered else {})
    checkpoint.save(whole, run_dir / "checkpoints" / checkpoint.RESULT)
    told = [_told(stage, folder.name, summary) for stage, folder, summary in zip(planned.stages, folders, summaries, strict=True)]
    summary = {**summaries[-1], **whose, **directory.total_times(*folders), "stages": told}
    if "teacher" in told[-1]:
        summary["teacher"] = {**summary["teacher"], "network": told[-1]["teacher"]}  # wherever the run may lie by now
    directory.write_summary(summary, run_dir)
    return summary


def _told(stage: Stage, name: str, summary: Summary) -> dict[str, Any]:
    """What the summary of the run says of a stage."""
    figures = ("kind", "epoch", "step", "epochs", "test_accuracy", "val_accuracy", "seconds")
    return {
        "name": name,
        "overrides": stage.overrides,
        "bits": lines.bits(stage.config),
        **lines.from_earlier(stage.config),
        **{key: summary[key] for key in figures if key in summary},
    }


def _dry_run(planned: Plan, run_dir: Path, exported: teacher.Reader | None) -> Summary:
    """What each stage would do, after the checks of a run. What an earlier stage gives is not there yet to be tried."""
    if directory.has_stages(run_dir) and directory.read_summary(run_dir) is not None:  # whose stages may be deleted
        log.info("%s", lines.plan_line(1, 1, 1, None))
        return {}
    stage_checks.check(planned, run_dir, exported)
    stage_checks.check_same(planned, run_dir)
    said: list[tuple[int, str]] = []
    for number, stage in enumerate(planned.stages, start=1):
        folder = directory.stage(run_dir, number)
        begun = directory.holds_run(folder)
        log.info("%s", lines.stage_line(number, len(planned.stages), stage.config, stage.choices))
        config = replace(_ready(stage.config, run_dir), init_from=None) if begun else stage_checks.alone(stage.config)
        try:
            named = list(_TAKEN_OVER) if begun else stage.overrides
            run(replace(config, dry_run=True), folder, named, None, exported, Part(number, len(planned.stages), said))
        except ConfigError as error:
            raise of_stage(number, stage.overrides, str(error)) from error
    return {}
