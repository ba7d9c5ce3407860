"""The page's charts: Vega-Lite specifications made with Altair, and their data in columns, which the page's script joins."""

import colorsys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bnn_train.errors import ConfigError

# At least 3:1 against white and against the dark page, and told apart by readers of every kind of colour vision with the dashes.
COLOURS = ("#1f7fc4", "#d55e00", "#00916a", "#b8609a", "#a87d00", "#7a6fd0", "#5c8a00", "#b5564b", "#2f8fa3", "#c2417c")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
OTHERS = "#8a8a8a"
DATA = "rows"  # the name under which the page's script gives each chart its rows
INSTALL = "pip install 'bnn-train[report]'"


@dataclass
class Series:
    """A line of the legend."""

    label: str
    colour: str
    dash: list[int] = field(default_factory=lambda: [1, 0])


@dataclass
class Panel:
    """Charts that share rows, a legend and a choice: `s` and `k` of a row are the numbers of its series and of its choice."""

    name: str
    title: str  # what the choice and the legend are of, for a reader of the screen
    columns: dict[str, list[Any]]
    series: list[Series] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    chosen: int = 0
    asks: str = ""  # what is chosen among
    classes: list[str] = field(default_factory=list)  # of a matrix: those that its rows' numbers mean
    charts: list[dict[str, Any]] = field(default_factory=list)
    logarithmic: bool | None = None  # whether the first chart's scale is at the start; None where there is no choice

    def data(self) -> dict[str, Any]:
        """For the page's script."""
        return asdict(self)


def needed(key: str, value: object) -> None:
    """Raises ConfigError for `key`, `value` where the libraries of the charts are not installed."""
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ConfigError(key, value, f"needs the packages altair and vl-convert-python: {INSTALL}") from error


def altair() -> Any:
    """The library, which takes half a second to import."""
    import altair

    return altair


def bundle() -> str:
    """The JavaScript that draws the charts: Vega, Vega-Lite and vega-embed, of the versions that go together.

    They are the newest that vl-convert has: what is used of Vega-Lite here is the same in the version that an older Altair writes.
    """
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return str(script).replace("</script", "<\\/script")


def series(labels: Sequence[str], in_order: bool = False) -> list[Series]:
    """Colours and dashes. in_order: of layers from the first to the last; of others all beyond the first ten are grey."""
    if in_order and len(labels) > len(COLOURS):
        return [Series(label, hue(i / (len(labels) - 1))) for i, label in enumerate(labels)]
    few = len(COLOURS)
    return [
        Series(label, COLOURS[i] if i < few else OTHERS, DASHES[i % 4] if i < few else [1, 0]) for i, label in enumerate(labels)
    ]


def hue(place: float) -> str:
    """From blue over green to red, each as light as the others."""
    red, green, blue = colorsys.hsv_to_rgb(0.6 * (1 - place), 0.85, 1.0)
    light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    scale = min(1.0, (0.2 / light) ** (1 / 2.2))
    return "#" + "".join(f"{round(255 * scale * part):02x}" for part in (red, green, blue))


def finished(chart: Any, said: str) -> dict[str, Any]:
    """The specification: as wide as its box, in the page's colours whatever they are."""
    ink = {f"{part}Color": "currentColor" for part in ("label", "title", "domain", "tick", "grid")}
    faint = {
        "gridOpacity": 0.14,
        "domainOpacity": 0.5,
        "tickOpacity": 0.5,
        "titleFontWeight": 600,
        "labelFontSize": 11,
        "titleFontSize": 12,
    }
    config = {
        "axis": {**ink, **faint},
        "view": {"stroke": None},
        "background": "transparent",
        "font": "system-ui, -apple-system, 'Segoe UI', sans-serif",
    }
    spec: dict[str, Any] = chart.properties(width="container", description=said).to_dict(validate=True)
    spec["config"] = config
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec.pop("$schema", None)  # an address; vega-embed takes Vega-Lite where none is named
    return spec
