"""The table and the plots of a study of the weights' estimators: those of lab.py, with their own meaning."""

from pathlib import Path
from typing import Any

from bnn_train.report import grid, lab

compared = lab.compared


def text(report: dict[str, Any]) -> str:
    return f"{lab.table(report)}\n\n{grid.sentence(meaning(report), '')}"


def write_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    return lab.write_plots(report, folder)


def meaning(report: dict[str, Any]) -> str:
    """What the columns of the table are."""
    named = {each["matching"] for place in report["measured"] for each in place["estimators"].values()} - {None}
    return LEGEND.format(networks=report["networks"], matching=", ".join(sorted(named)) or "none is measured")


LEGEND = """\
The gradient is the one with respect to the weights' means 2 P(w = +1) - 1; that with respect to P(w = +1) is twice as large.
Figures are means over {networks} networks with other weights, data and draws, with ± half of the 95% interval of that mean.
sharpness: latent weights are uniform within ± it. passes: forward + backward, of one sample, which is one draw of all weights for
all data. bias, std, rmse: of the whole gradient, as shares of the exact one's norm; < means that no bias could be told from none,
and how large one would have shown; std is that of one sample, rmse the error of a mean of 100. cosine 1, 100: mean cosine of one
sample, or of a mean of 100, with the exact gradient; the layers' columns give it for each, with 100. than ST: whether that cosine
is better or worse than that of the plain straight-through estimator ({matching}), in the same networks, by a paired t-test at 5%,
corrected for the number of estimators; - where there is none to be held against. gain: what a step of the latent weights against
the estimate, which is mirror descent over the means, lowers the loss, as a share of what the exact gradient's step does; it can be
above 1. -: too few samples."""
