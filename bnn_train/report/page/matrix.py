"""The chart of a confusion matrix."""

from typing import Any

from bnn_train.report.page.charts import DATA, Panel, altair, finished
from bnn_train.report.page.predicted import Predicted

MOST_WITH_NUMBERS, MOST = 20, 100  # classes
RIGHT, WRONG = "#1f7fc4", "#d55e00"


def confusion(predicted: Predicted, name: str) -> Panel:
    """A cell for each pair of classes that occurs; up to 20 classes with the numbers in them."""
    alt = altair()

    count = len(predicted.classes)
    matrix: Any = predicted.confusion
    totals = matrix.sum(axis=1)
    errors = [matrix[i, j] / totals[i] for i in range(count) for j in range(count) if i != j and totals[i]]
    largest_error = max(errors, default=0) or 1
    columns: dict[str, list[Any]] = {key: [] for key in ("t", "g", "n", "p", "o", "r")}
    for i in range(count):
        for j in range(count):
            if matrix[i, j]:
                share = float(matrix[i, j] / totals[i])
                shade = 0.08 + 0.62 * (share if i == j else share / largest_error)
                row = (i, j, int(matrix[i, j]), float(f"{share:.4g}"), round(shade, 3), int(i == j))
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
    panel = Panel(name, "", columns, classes=predicted.classes)
    names = list(range(count))
    few = count <= MOST_WITH_NUMBERS
    angle = 0 if max(map(len, predicted.classes)) <= 3 and few else -45 if few else -90
    scale = alt.Scale(domain=names, padding=0)
    quiet = {"ticks": False, "domain": False, "grid": False, "labelOverlap": not few, "labelLimit": 90}
    chart = alt.Chart(alt.NamedData(DATA)).encode(
        x=alt.X("g:O", scale=scale, axis=alt.Axis(title="taken for", labelExpr="classes[datum.value]", labelAngle=angle, **quiet)),
        y=alt.Y("t:O", scale=scale, axis=alt.Axis(title="is", labelExpr="classes[datum.value]", **quiet)),
        tooltip=[
            alt.Tooltip("true:N", title="is"),
            alt.Tooltip("guess:N", title="taken for"),
            alt.Tooltip("n:Q", title="images", format=","),
            alt.Tooltip("p:Q", title="of its class", format=".2%"),
        ],
    )
    cells = chart.mark_rect(aria=False).encode(
        color=alt.Color("r:O", legend=None, scale=alt.Scale(domain=[0, 1], range=[WRONG, RIGHT])),
        opacity=alt.Opacity("o:Q", legend=None, scale=None),
    )
    layers = [cells]
    if few:
        layers.append(
            chart.mark_text(aria=False, color="currentColor", fontSize=11 if count <= 12 else 9).encode(
                text=alt.Text("n:Q", format="~s")
            )
        )
    whole = alt.layer(*layers).add_params(alt.param(name="classes", value=predicted.classes))
    height = max(160, min(560, 34 * count if few else 6 * count))
    right = int(matrix.trace())
    said = f"Confusion matrix: {right:,} of {int(matrix.sum()):,} test images on the diagonal; the table below has each class"
    whole = whole.properties(view=alt.ViewBackground(fill="currentColor", fillOpacity=0.04, stroke=None))
    panel.charts.append(finished(whole.properties(height=height), said))
    return panel
