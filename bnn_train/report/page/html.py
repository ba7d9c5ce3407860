"""The page of runs, sweeps and studies: one file that opens in any browser, without a network."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bnn_train import files
from bnn_train.report import sweep
from bnn_train.report.given import Given
from bnn_train.report.jobs import Job
from bnn_train.report.page import charts, lines, markup, methods, parts, read, runs, study
from bnn_train.report.page.charts import Panel
from bnn_train.report.page.curves import Setting, settings

MOST_IN_DETAIL = 6  # runs whose classes and layers are shown, where they were named one by one
_TEMPLATE = Path(__file__).with_name("template")


def write(given: Given, path: Path) -> None:
    """Writes the page. Raises ConfigError where a library is missing, or the file cannot be written."""
    charts.needed("html", path)
    text = page(given)
    files.write(path, lambda to: to.write(text.encode("utf-8", "surrogateescape")))


def page(given: Given) -> str:
    """The page's text."""
    body, panels = study.body(given.title, given.study) if given.study is not None else _of_runs(given)
    filled = {
        "title": markup.text(f"{given.title} – bnn-report"),
        "body": body,
        "panels": json.dumps([panel.data() for panel in panels], separators=(",", ":")).replace("<", "\\u003c"),
        "bundle": charts.bundle() if panels else "",
    }
    return re.sub(r"\{\{([a-z.]+)\}\}", lambda name: filled[name[1]] if name[1] in filled else _text(name[1]), _text("page.html"))


def _of_runs(given: Given) -> tuple[str, list[Panel]]:
    """In this order: the ranking or a study's table, differences, curves, of the runs in detail classes and layers, time."""
    found = settings(given.jobs, given.rows)
    detailed = in_detail(given)
    panels: list[Panel] = []
    curves = lines.training(found)
    sections = [
        parts.ranking(given) if given.methods is None else methods.table(given.methods, given.title, parts.every(given.jobs)),
        parts.differing(given.jobs, found),
        markup.section("curves", "Loss and accuracy", _so_far(given), _curves(curves, found, panels)),
        *(runs.detail(job, f"run{i}", detailed, _why(given, job), panels) for i, job in enumerate(detailed)),
        parts.machines(given.jobs),
    ]
    links = re.findall(r'<section id="([^"]+)"><h2>(.*?)</h2>', "".join(sections))
    around = "".join(f'<a href="#{name}">{title}</a>' for name, title in links)  # the title is escaped
    head = f"<h1>{markup.text(given.title)}</h1>{parts.lead(given, found)}<nav aria-label=Sections>{around}</nav>"
    return head + "".join(sections), panels


def _so_far(given: Given) -> str:
    """Of a single run that is not finished, what the terminal says of it."""
    if len(given.jobs) != 1 or given.jobs[0].status != "unfinished":
        return ""
    return markup.paragraph(f"The run {read.so_far(given.jobs[0].folder)}.", "note")


def _curves(panel: Panel | None, found: Sequence[Setting], panels: list[Panel]) -> str:
    if panel is None:
        return markup.paragraph("No epoch has been measured yet.", "note")
    panels.append(panel)
    several = [setting for setting in found if len(setting.jobs) > 1]
    words = "One run each, so there is no band."
    if several:
        words = "Lines are means over the runs of a setting, bands go from the smallest to the largest of them."
        words += " Settings of one run have no band." if len(several) < len(found) else ""
    elif len(found) == 1:
        words = ""
    if len(found) > len(charts.COLOURS):
        words += f" The first {len(charts.COLOURS)} have colours, the others are grey; press names of the legend to highlight them."
    return markup.panel(panel.name, "training", ["Loss", "Accuracy"], words.strip())


def in_detail(given: Given) -> list[Job]:
    """The runs whose classes and layers are shown: those that were named, or the best of a sweep and of many."""
    shown = [job for job in given.jobs if job.status != "damaged" or job.summary]
    if given.sweep is None and len(shown) <= MOST_IN_DETAIL:
        return shown
    if given.methods is not None:
        return methods.shown_first(given.methods, shown)
    _, measure, ranked = sweep.settings(given.jobs)
    if ranked:
        return [max(ranked[0].jobs, key=lambda job: job.summary[measure])]
    return [job for job in shown if (job.folder / "metrics.jsonl").exists()][:1]


def _why(given: Given, job: Job) -> str:
    """Why this run is the one that is shown."""
    if len(given.jobs) == 1 or (given.sweep is None and len(given.jobs) <= MOST_IN_DETAIL):
        return ""
    if given.methods is not None and job.summary:
        return f"{job.name}: of the method that stands first, its first run."
    measure = sweep.settings(given.jobs)[1].replace("_", " ")
    return (
        f"{job.name}: of the setting that ranks first, the run with the highest {measure}."
        if job.summary
        else f"{job.name}, not finished."
    )


def _text(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding="utf-8").strip()
