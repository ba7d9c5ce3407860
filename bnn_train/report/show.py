"""What `bnn-report` prints of runs, sweeps and studies."""

from bnn_train.files import for_people
from bnn_train.report import laboratory, lines, study_table, sweep, tables, terminal
from bnn_train.report.given import Given
from bnn_train.report.jobs import Job, plugins_in
from bnn_train.report.page import read


def table(given: Given) -> bool:
    """Prints a study's tables, a run's result, or the ranking; of a whole sweep also writes sweep.csv. Whether stdout took it."""
    if given.study is not None:
        return terminal.write(f"{laboratory.kind(given.study).text(given.study)}\n")
    if given.methods is not None:
        return terminal.write(study_table.terminal({**given.methods, "title": given.title}) + "\n")
    if given.sweep is not None:
        return sweep.show(given.sweep)[1]
    if len(given.jobs) == 1 and given.jobs[0].status == "finished":
        job = given.jobs[0]
        try:
            text = tables.result_table(job.summary, for_people(job.folder))
            if "stages" in job.summary:
                text = f"{tables.stages_table(job.summary['stages'])}\n\n{text}"
        except (KeyError, TypeError, ValueError):  # of a version that wrote less
            text = sweep.table(given.jobs, given.title)
    elif len(given.jobs) == 1 and given.jobs[0].status == "unfinished":
        text = _unfinished(given.jobs[0])
    else:
        text = sweep.table(given.jobs, given.title)
    return terminal.write(text + "\n")


def _unfinished(job: Job) -> str:
    """How far a run has come that is in training or was stopped, and how it goes on."""
    plugins = plugins_in((job.overrides or {}).get("plugins", ""))
    command = f"bnn-train {lines.resume_argument(for_people(job.folder), plugins)}"
    return f"{for_people(job.folder)} {read.so_far(job.folder)}\nwhere it was stopped it goes on with: {command}"
