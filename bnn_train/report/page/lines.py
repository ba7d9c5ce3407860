"""Charts of lines: loss and accuracy, the layers' health, estimators against their samples."""

from collections.abc import Callable, Sequence
from typing import Any

from bnn_train.report.page.charts import COLOURS, DATA, Panel, altair, finished, series
from bnn_train.report.page.curves import Setting
from bnn_train.report.page.layers import FIGURES, Health

SAMPLES = "averaged samples"


def training(settings: Sequence[Setting]) -> Panel | None:
    """Loss and accuracy over the epochs; of one setting all splits together, of several one at a time."""
    splits = list(dict.fromkeys(split for setting in settings for split in setting.curves))
    if not splits:
        return None
    names = [split.replace("_", " ") for split in splits]
    alone = len(settings) == 1
    columns: dict[str, list[Any]] = {key: [] for key in ("x", "s", "k", "l", "l0", "l1", "a", "a0", "a1")}
    for number, setting in reversed(list(enumerate(settings))):  # the best is drawn last, on top
        for k, split in enumerate(splits):
            for point in setting.curves.get(split, []):
                row = (point.epoch, *((k, 0) if alone else (number, k)), *_rounded(point.loss), *_rounded(point.accuracy))
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
    panel = Panel("training", "split" if alone else "setting", columns, series(names if alone else [s.label for s in settings]))
    if not alone:
        panel.choices, panel.asks = names, "images"
        panel.chosen = splits.index("val") if "val" in splits else splits.index("test") if "test" in splits else 0
    panel.logarithmic = True
    most = max(len({point.epoch for curve in setting.curves.values() for point in curve}) for setting in settings)
    for y, title, form in (("l", "loss", "~g"), ("a", "accuracy", ".2%")):
        panel.charts.append(_lines(panel, y, title, form, "epoch", band=any(len(s.jobs) > 1 for s in settings), points=most <= 30))
    return panel


def layer_health(health: Health, name: str) -> Panel:
    """One figure at a time, a line for each layer."""
    columns: dict[str, list[Any]] = {key: [] for key in ("x", "s", "k", "y")}
    for epoch, layer, figure, value in health.values:
        row = (epoch, health.layers.index(layer), health.figures.index(figure), float(f"{value * FIGURES[figure][1]:.4g}"))
        for column, cell in zip(columns.values(), row, strict=True):
            column.append(cell)
    choices = [FIGURES[figure][0] for figure in health.figures]
    panel = Panel(name, "layer", columns, series(health.layers, in_order=True), choices, asks="figure", logarithmic=False)
    panel.charts.append(_lines(panel, "y", "", "~g", "epoch", band=False, points=len(set(columns["x"])) <= 30))
    return panel


def of_samples(estimators: Sequence[str], networks: list[str], columns: dict[str, list[Any]]) -> Panel:
    """Error and cosine of estimators against the number of averaged samples, in one network at a time."""
    panel = Panel("samples", "estimator", columns, series(estimators), networks, asks="network", logarithmic=True)
    panel.charts.append(_lines(panel, "l", "relative RMSE", "~g", SAMPLES, band=False, points=True, log_x=True))
    panel.charts.append(_lines(panel, "a", "cosine", ".3f", SAMPLES, band=True, points=True, log_x=True))
    return panel


def scattered(estimators: Sequence[str], networks: list[str], columns: dict[str, list[Any]]) -> Panel:
    """Bias of estimators against the deviation of one sample, in one network at a time."""
    panel = Panel("bias", "estimator", columns, series(estimators), networks, asks="network")
    panel.charts.append(_marks(panel, ("x", "relative standard deviation of one sample"), ("y", "relative bias")))
    return panel


def _lines(
    panel: Panel, y: str, y_title: str, form: str, x_title: str, band: bool, points: bool, log_x: bool = False
) -> dict[str, Any]:
    alt = altair()

    numbers = list(range(len(panel.series)))
    colour = alt.Color("s:O", legend=None, scale=alt.Scale(domain=numbers, range=[each.colour for each in panel.series]))
    dash = alt.StrokeDash("s:O", legend=None, scale=alt.Scale(domain=numbers, range=[each.dash for each in panel.series]))
    is_chosen, is_any = "indexof(picked, datum.s) >= 0", "length(picked) > 0"

    def opacity(usual: float, off: float) -> Any:
        faint = usual if len(numbers) <= len(COLOURS) else f"datum.s < {len(COLOURS)} ? {usual} : {usual / 3}"
        return {"expr": f"{is_any} ? ({is_chosen} ? {usual} : {off}) : ({faint})"}

    epochs = sorted(set(panel.columns["x"]))
    few = {} if log_x or len(epochs) > 8 else {"values": epochs}  # tickMinStep leaves halves between few
    x_axis = alt.Axis(title=x_title, tickMinStep=1, format="~s" if log_x else "d", grid=False, **few)
    x = alt.X("x:Q", axis=x_axis, scale=alt.Scale(type="log") if log_x else alt.Scale(zero=False, nice=False))
    along = alt.Axis(title=y_title, **({"format": "~%"} if form.endswith("%") else {}))

    def of(field: str) -> Any:
        return alt.Y(f"{field}:Q", axis=along, scale=alt.Scale(zero=False))

    chart = alt.Chart(alt.NamedData(DATA))
    tips = [alt.Tooltip("series:N", title=panel.title), alt.Tooltip("x:Q", title=x_title, format=",")]
    tips += [alt.Tooltip("choice:N", title=panel.asks)] if panel.choices else []
    tips += [alt.Tooltip(f"{y}:Q", title=y_title or "value", format=form)]
    if band:
        tips += [alt.Tooltip(f"{y}{i}:Q", title=title, format=form) for i, title in ((0, "smallest"), (1, "largest"))]
    layers = []
    if band:
        area = chart.mark_area(aria=False, clip=True, opacity=opacity(0.18 if len(numbers) <= 5 else 0.06, 0.02))
        layers.append(area.encode(x=x, y=of(f"{y}0"), y2=alt.Y2(f"{y}1"), color=colour))
    line = chart.mark_line(aria=False, clip=True, strokeWidth=2, opacity=opacity(1, 0.12))
    layers.append(line.encode(x=x, y=of(y), color=colour, strokeDash=dash))
    dots = chart.mark_point(aria=False, filled=True, size=36, opacity=opacity(1 if points else 0.001, 0.0))
    layers.append(dots.encode(x=x, y=of(y), color=colour, tooltip=tips))
    whole = alt.layer(*layers).transform_filter("datum.k === choice && (!logarithmic || datum.%s > 0)" % (f"{y}0" if band else y))
    whole = whole.add_params(
        alt.param(name="choice", value=panel.chosen),
        alt.param(name="picked", value=[]),
        alt.param(name="logarithmic", value=False),
    )
    return finished(whole.properties(height=280), f"{y_title or 'figure'} against {x_title}, a line for each {panel.title}")


def _marks(panel: Panel, x: tuple[str, str], y: tuple[str, str]) -> dict[str, Any]:
    """A mark for each series on two logarithmic axes. x, y: field and title."""
    alt = altair()

    numbers = list(range(len(panel.series)))
    colour = alt.Color("s:O", legend=None, scale=alt.Scale(domain=numbers, range=[each.colour for each in panel.series]))
    axes: list[Callable[..., Any]] = [alt.X, alt.Y]
    along = [
        channel(f"{name}:Q", axis=alt.Axis(title=title), scale=alt.Scale(type="log"))
        for channel, (name, title) in zip(axes, (x, y), strict=True)
    ]
    opacity = {"expr": "length(picked) > 0 && indexof(picked, datum.s) < 0 ? 0.12 : 1"}
    tips = [alt.Tooltip("series:N", title=panel.title), alt.Tooltip(f"{x[0]}:Q", title=x[1], format=".3g")]
    tips += [alt.Tooltip(f"{y[0]}:Q", title=y[1], format=".3g"), alt.Tooltip("shows:N", title="bias told from none")]
    shape = alt.Shape("shows:N", legend=None, scale=alt.Scale(domain=["yes", "no"], range=["circle", "triangle-down"]))
    marks = alt.Chart(alt.NamedData(DATA)).mark_point(aria=False, filled=True, size=90, opacity=opacity)
    chart = marks.encode(x=along[0], y=along[1], color=colour, shape=shape, tooltip=tips)
    chart = chart.transform_filter("datum.k === choice").add_params(
        alt.param(name="choice", value=panel.chosen), alt.param(name="picked", value=[])
    )
    return finished(chart.properties(height=320), f"{y[1]} against {x[1]}, a mark for each {panel.title}")


def _rounded(values: Sequence[float] | None) -> tuple[float | None, ...]:
    return (None, None, None) if values is None else tuple(float(f"{value:.5g}") for value in values)
