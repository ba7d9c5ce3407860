"""A figure as files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def within(set_limits: Callable[[float, float], object], limits: tuple[float, float], least: float, most: float) -> None:
    """Ends an axis a little outside what its quantity can be, where intervals of few networks reach further."""
    room = 0.03 * (most - least)
    set_limits(max(limits[0], least - room), min(limits[1], most + room))


def save(figure: "Figure", path: Path, dpi: int = 150) -> list[Path]:
    """Writes path.png and path.svg, and gives them; the same figure gives the same files."""
    import matplotlib as mpl

    png, svg = (path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg"))
    figure.savefig(png, dpi=dpi)
    figure.set_layout_engine("none")  # what it has laid out stays for the second file: the layout takes half of the time
    with mpl.rc_context({"svg.hashsalt": "bnn-train"}):  # else names within it are drawn by lot
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
