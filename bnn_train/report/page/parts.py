"""The parts of the page that are about all runs: what they are, their ranking, differences, time and machine."""

from collections.abc import Sequence

from bnn_train.report import interval, sweep, tables
from bnn_train.report.given import Given, data_set
from bnn_train.report.jobs import Job
from bnn_train.report.page import differences, markup, read
from bnn_train.report.page.curves import Setting
from bnn_train.report.page.markup import Cells

_INTERVAL = (
    "std is the deviation over the runs of a setting. The interval holds its mean with 95% certainty, were the runs drawn from a "
    "normal distribution (Student's t): with few runs it is wide."
)
_TESTED = "Test images rank here: a setting that they choose looks better than it is. data.val_size holds images out to choose by."


def lead(given: Given, found: Sequence[Setting]) -> str:
    """How many runs, on which images, and of which networks the figures are."""
    counts = {status: sum(job.status == status for job in given.jobs) for status in ("finished", "unfinished", "failed", "damaged")}
    words = {"unfinished": "not finished"}
    states = ", ".join(f"{count} {words.get(status, status)}" for status, count in counts.items() if count)
    count = len(given.jobs)
    data = sorted({name for job in given.jobs if (name := data_set(job))})
    on = f" on {', '.join(data)}" if data else ""
    many = f", {len(found)} settings" if len(found) > 1 else ""
    said = f"1 run{on}, {states.removeprefix('1 ')}." if count == 1 else f"{count} runs{on}{many}: {states}."
    return markup.paragraph(said, "lead")


def ranking(given: Given) -> str:
    """The terminal's table with an interval, and below it every run with the network that its figures are of.

    Of a single run what the terminal says of it.
    """
    if len(given.jobs) == 1 and given.jobs[0].summary:
        try:
            summary = given.jobs[0].summary
            of_stages = [markup.cells(column) for column in tables.stages_columns(summary.get("stages", ()))]
            stages = markup.table(of_stages, "Stages") if of_stages else ""
            return markup.section("ranking", "Result", markup.pairs(tables.result_rows(summary)), stages)
        except (KeyError, TypeError, ValueError):  # of a version that wrote less
            return markup.section("ranking", "Result", _runs(given.jobs))
    keys, measure, ranked = sweep.settings(given.jobs)
    content = []
    if ranked and len(given.jobs) > 1:
        rank, values, figures = sweep.columns(keys, ranked, "ensemble" in measure)
        halves = [interval.half_width(setting.accuracies) for setting in ranked]
        numbers: dict[str, list[float | None]] = {
            "runs": [float(len(setting.accuracies)) for setting in ranked],
            "mean": [setting.mean for setting in ranked],
            "best": [max(setting.accuracies) for setting in ranked],
        }
        columns = [markup.cells(rank, [float(i) for i in range(1, len(ranked) + 1)])]
        columns += [Cells(column.header, column.cells, _numbers(column.cells), right=False) for column in values]
        for column in figures:
            shown = numbers.get(column.header) or [_figure(cell) for cell in column.cells]
            columns.append(markup.cells(column, shown))
            if column.header == "std":
                texts = ["" if half is None else f"± {half:.2%}" for half in halves]
                columns.append(Cells("95% interval", texts, halves, note="of the mean, from Student's t"))
        said = measure.replace("_", " ")
        content.append(markup.paragraph(f"By {said}; the best is marked."))
        content.append(markup.table(columns, f"Settings ranked by {said}", sortable=True, marked=0))
        if note := sweep.epochs_in_all(ranked):
            content.append(markup.paragraph(f"{note[0].upper()}{note[1:]}.", "note"))
        if any(half is not None for half in halves):
            content.append(markup.paragraph(_INTERVAL, "note"))
        if len(ranked) > 1 and measure.startswith("test"):
            content.append(markup.paragraph(_TESTED, "note"))
    content.append(every(given.jobs, is_open=not ranked))
    return markup.section("ranking", "Ranking" if len(given.jobs) > 1 else "Result", *content)


def every(jobs: Sequence[Job], is_open: bool = False) -> str:
    """Every run with its figures, and why others have none."""
    runs = _runs(jobs)
    return (markup.folded(f"All {len(jobs)} runs", runs, is_open) if len(jobs) > 1 else runs) + _not_ranked(jobs)


def _numbers(texts: Sequence[str]) -> list[float | None] | None:
    """Where all but the absent ones are numbers."""
    numbers = [markup.number_or_none(text) for text in texts]
    return numbers if all(n is not None or text == sweep.ABSENT for n, text in zip(numbers, texts, strict=True)) else None


def _figure(text: str) -> float | None:
    """What a percentage or a duration of the terminal's table is sorted by."""
    if ":" in text:
        hours, minutes, seconds = text.split(":")
        return 3600 * float(hours) + 60 * float(minutes) + float(seconds)
    return markup.number_or_none(text.rstrip("% s"))


def _runs(jobs: Sequence[Job]) -> str:
    """Every run, and of which network its figures are."""
    latest = [_latest(job, alone=len(jobs) == 1) for job in jobs]
    columns = [Cells("run", [job.name for job in jobs], right=False), Cells("status", [_status(job) for job in jobs], right=False)]
    networks = [tables_network(job) or _so_far(row) for job, row in zip(jobs, latest, strict=True)]
    columns.append(Cells("figures are of", networks, right=False))
    for split in ("test", "test_ensemble", "val", "val_ensemble", "train"):
        found = [read.number((job.summary or row).get(f"{split}_accuracy")) for job, row in zip(jobs, latest, strict=True)]
        if any(value is not None for value in found):
            texts = ["" if value is None else f"{value:.2%}" for value in found]
            columns.append(Cells(f"{split.replace('_', ' ')} accuracy", texts, found))
    return markup.table(columns, "All runs", sortable=len(jobs) > 1)


def _latest(job: Job, alone: bool) -> read.Row:
    """The newest figures of a run that goes on; of one in stages, which rank with none of others', where it stands alone."""
    folder = read.stage(job.folder)[0] if alone else job.folder
    rows = [] if job.summary else read.rows(folder / "metrics.jsonl")
    return rows[-1] if rows else {}


def _status(job: Job) -> str:
    return f"not finished{read.stage(job.folder)[1]}" if job.status == "unfinished" else job.status


def tables_network(job: Job) -> str:
    """In words, which network the figures of a finished run's summary are of."""
    summary = job.summary
    if not summary:
        return ""
    chosen = summary.get("chosen")
    if chosen is None and isinstance(summary.get("epoch"), int):
        chosen = tables.moment(summary["epoch"], summary.get("step") or 0)
    checkpoint = summary.get("checkpoint")
    return f"{chosen or 'the last epoch'}{f' ({checkpoint})' if checkpoint else ''}"


def _so_far(row: read.Row) -> str:
    return f"what it had reached, epoch {row['epoch']}" if row else ""


def _not_ranked(jobs: Sequence[Job]) -> str:
    """Jobs that failed, are damaged or not finished, and why."""
    content = []
    for status, heading in sweep.HEADINGS.items():
        found = [job for job in jobs if job.status == status]
        if found:
            items = "".join(f"<li>{markup.text(': '.join(filter(None, (job.name, job.reason))))}</li>" for job in found)
            content.append(f"<div class=note><p>{markup.text(f'{len(found)} {heading}')}</p><ul>{items}</ul></div>")
    return "".join(content)


def differing(jobs: Sequence[Job], found: Sequence[Setting]) -> str:
    """The keys in which the configurations differ, by setting; of a single run what was typed for it."""
    if len(jobs) == 1:
        chosen = differences.chosen(jobs[0])
        choices = [(group, option) for group, option in (jobs[0].summary.get("choices") or {}).items()]
        content = (
            markup.paragraph("Typed for it:") + markup.pairs(chosen) if chosen else markup.paragraph("Nothing was typed for it.")
        )
        if choices:
            content += markup.folded("All options chosen", markup.pairs(choices))
        return markup.section("differences", "Configuration", content)
    groups = [setting.jobs for setting in found]
    flat = [job for group in groups for job in group]
    if not flat:
        return ""
    keys, values = differences.differing(flat)
    if not keys:
        return markup.section("differences", "What differs", markup.paragraph("The configurations do not differ."))
    by_job = {id(job): row for job, row in zip(flat, values, strict=True)}
    columns = [Cells("setting", [setting.label for setting in found], right=False)]
    for i, key in enumerate(keys):
        cells = [", ".join(dict.fromkeys(by_job[id(job)][i] for job in group)) for group in groups]
        columns.append(Cells(key, cells, _numbers(cells), right=False))
    said = markup.paragraph("Every other key of their configurations is the same.", "note")
    return markup.section("differences", "What differs", markup.table(columns, "Keys that differ", sortable=True), said)


def machines(jobs: Sequence[Job]) -> str:
    """How long each run took, how fast it was, on what."""
    rows = []
    for job in jobs:
        summary = job.summary
        times = [] if summary else read.rows(job.folder / "times.jsonl")
        seconds = read.number(summary.get("seconds")) if summary else sum(read.number(row.get("seconds")) or 0 for row in times)
        if not seconds:
            continue
        versions = summary.get("versions") or {}
        known = ", ".join(f"{name} {versions[name]}" for name in ("bnn-train", "torch", "python", "platform") if versions.get(name))
        speed, epochs = read.number(summary.get("images_per_second")), summary.get("epoch") if summary else len(times)
        rows.append((job.name, epochs, seconds, speed, str(summary.get("device") or ""), str(summary.get("precision") or ""), known,
                     str(summary.get("git_commit") or "")[:10]))  # fmt: skip
    if not rows:
        return ""
    names, epochs_, seconds_, speeds, *words = zip(*rows, strict=True)
    columns = [Cells("run", names, right=False), Cells("epochs", ["" if n is None else str(n) for n in epochs_], epochs_)]
    columns.append(Cells("time", [tables.duration(value) for value in seconds_], seconds_))
    columns.append(Cells("images/s", ["" if value is None else f"{value:,.0f}" for value in speeds], speeds))
    same = []
    for header, texts in zip(("device", "precision", "versions", "commit"), words, strict=True):
        if len(set(texts)) == 1 and len(rows) > 1:
            same += [(header, texts[0])] if texts[0] else []
        else:
            columns.append(Cells(header, texts, right=False))
    total = [("time in all", tables.duration(sum(seconds_)))] if len(rows) > 1 else []
    return markup.section(
        "time", "Time and machine", markup.pairs(total + same), markup.table(columns, "Time of each run", sortable=len(rows) > 1)
    )
