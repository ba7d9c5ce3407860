"""What `bnn-report` prints of runs, sweeps and studies."""

from bnn_train.files import for_people
from bnn_train.report import sweep, tables, terminal
from bnn_train.report.given import Given


def table(given: Given) -> bool:
    """Prints a study's tables, a run's result, or the ranking; of a whole sweep also writes sweep.csv. Whether stdout took it."""
    if given.study is not None:
        from bnn_train.report import lab  # which loads matplotlib

        return terminal.write(f"{lab.table(given.study)}\n\n{lab.legend()}\n")
    if given.sweep is not None:
        return sweep.show(given.sweep)[1]
    if len(given.jobs) == 1 and given.jobs[0].status == "finished":
        job = given.jobs[0]
        try:
            text = tables.result_table(job.summary, for_people(job.folder))
        except (KeyError, TypeError, ValueError):  # of a version that wrote less
            text = sweep.table(given.jobs, given.title)
    else:
        text = sweep.table(given.jobs, given.title)
    return terminal.write(text + "\n")
