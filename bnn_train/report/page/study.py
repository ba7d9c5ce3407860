"""The page of a study of the laboratory: its tables, errors and directions against averaged samples, bias beside deviation."""

from typing import Any

from bnn_train.report import laboratory
from bnn_train.report.page import lines, markup
from bnn_train.report.page.charts import Panel
from bnn_train.report.page.markup import Cells
from bnn_train.report.tables import duration


def body(title: str, report: dict[str, Any]) -> tuple[str, list[Panel]]:
    """(the page's body, its charts). Of other kinds of figures the tables, as the terminal has them."""
    kind = laboratory.kind(report)
    if report["kind"] != "measured":
        return (
            f"<h1>{markup.text(title)}</h1>{markup.section('tables', 'Figures', f'<pre>{markup.text(kind.text(report))}</pre>')}",
            [],
        )
    from bnn_train.report import lab  # which loads matplotlib

    measured = report["measured"]
    estimators = list(dict.fromkeys(name for each in measured for name in each["estimators"]))
    protocol = report["config"]["protocol"]
    plotted = [name for name in protocol.get("plotted") or estimators if name != "exact" and name in estimators]
    where = [lab.where(each) for each in measured]
    panels = [_against_samples(report, plotted, where), _bias_and_deviation(report, plotted, where)]
    seconds = report.get("seconds")
    lead = f"A study of the laboratory: {len(estimators)} estimators, measured in {report['networks']} networks."
    tables = "".join(f"<h3>{markup.text(lab.heading(each))}</h3>{_table(each)}" for each in measured)
    sections = [
        markup.section("estimators", "Estimators", tables, markup.paragraph(" ".join(lab.meaning(report).split()), "note")),
        markup.section(
            "samples",
            "Averaged samples",
            markup.panel("samples", "training", ["Relative error (RMSE)", "Cosine with the exact gradient"], _BAND),
        ),
        markup.section("bias", "Bias and deviation", markup.panel("bias", "alone", ["Of the whole gradient, one sample"], _MARKS)),
        markup.section("time", "Time", markup.pairs([("time in all", duration(seconds))])) if seconds else "",
    ]
    return f"<h1>{markup.text(title)}</h1>{markup.paragraph(lead, 'lead')}{''.join(sections)}", panels


_BAND = "Of the whole gradient. Lines are means over networks, the cosine's bands their 95% intervals."
_MARKS = "Triangles mark biases that cannot be told from none: they are at most where the mark is."


def _table(measured: dict[str, Any]) -> str:
    from bnn_train.report import lab

    columns = [Cells(column.header, column.cells, None, column.right) for column in lab.columns_of(measured)]
    for column in columns[2:]:  # estimators and passes are words; so are verdicts, which sort as such
        column.numbers = [markup.number_or_none(text.lstrip("<").split(" ")[0]) for text in column.texts]
    return markup.table(columns, lab.heading(measured), sortable=True)


def _against_samples(report: dict[str, Any], plotted: list[str], where: list[str]) -> Panel:
    columns: dict[str, list[Any]] = {key: [] for key in ("x", "s", "k", "l", "a", "a0", "a1")}
    for k, measured in enumerate(report["measured"]):
        for s, name in enumerate(plotted):
            block = measured["estimators"].get(name, {}).get("blocks", {}).get("all", {"rmse": {}, "cosine": {}})
            for count in dict.fromkeys([*block["rmse"], *block["cosine"]]):
                (rmse, _), (mean, half) = block["rmse"].get(count, (None, None)), block["cosine"].get(count, [(None, None)])[0]
                low, high = (mean, mean) if half is None else (mean - half, mean + half)
                row = (int(count), s, k, rmse, mean, low, high)
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(None if value is None else float(f"{value:.4g}"))
    return lines.of_samples(plotted, where, columns)


def _bias_and_deviation(report: dict[str, Any], plotted: list[str], where: list[str]) -> Panel:
    columns: dict[str, list[Any]] = {key: [] for key in ("s", "k", "x", "y", "shows")}
    for k, measured in enumerate(report["measured"]):
        for s, name in enumerate(plotted):
            estimator = measured["estimators"].get(name)
            if estimator is None or estimator["samples"] <= 1:  # without noise there is no deviation
                continue
            block = estimator["blocks"]["all"]
            (bias, _), (floor, _), (std, _) = block["bias"], block["bias_floor"], block["std"]
            row = (s, k, std, max(bias, floor), "yes" if bias > floor else "no")
            if row[2] > 0 and row[3] > 0:
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(float(f"{value:.4g}") if isinstance(value, float) else value)
    return lines.scattered(plotted, where, columns)
