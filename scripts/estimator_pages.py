"""Writes docs/estimators/: a page for each estimator with its formula, paper, keys, noise and a plot, from the code that trains.

    python scripts/estimator_pages.py           # all pages, their plots and the list of them

The pages are committed, so that they are read without a build; a test holds their text to what this script would write.
"""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnn_train.binary import noise, progressive, ste
from bnn_train.config.ste import STES, SteConfig

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "estimators"
Curve = tuple[str, Tensor]  # its label, its values over A

A = torch.linspace(-2.5, 2.5, 501, dtype=torch.float64)
PROGRESS = (0.0, 0.25, 0.5, 0.75, 1.0)
OTHERS: dict[str, list[dict[str, float]]] = {  # settings that are drawn beside the defaults
    **{key: [{"clip": 0.5}] for key in ("clipped", "hard_st")},
    "swish_sign": [{"beta": 2.0}],
    **{key: [{"scale": 0.5}] for key in ("uniform", "triangular", "logistic", "normal")},
    "gumbel": [{"temperature": 0.5}, {"temperature": 0.25}],
}


def variants(name: str) -> list[tuple[str, ste.Ste]]:
    """What is drawn: an annealed estimator at some shares of training, others with their default and other values."""
    if ste.Ste(name).annealed:
        found = [(f"progress {progress:g}", ste.Ste(name)) for progress in PROGRESS]
        for progress, (_, estimator) in zip(PROGRESS, found, strict=True):
            estimator.progress = progress
        return found
    if name not in OTHERS:
        return [("factor", ste.Ste(name))]
    defaults = {key: getattr(STES[name], key) for key in OTHERS[name][0]}
    settings = [defaults, *OTHERS[name]]
    return [(", ".join(f"{k} {v:g}" for k, v in values.items()), ste.Ste(name, **values)) for values in settings]


def factors(name: str) -> list[Curve]:
    """The factor of each variant over A; where it depends on the gradient or on what was drawn, for several of these."""
    one = torch.ones_like(A)
    if name == "stompp":
        return [
            (f"share {share:g}", (1 - share) * progressive.mixed_gradient(one, A, ones=A > 9, of_sign=progressive.nothing))
            for share in PROGRESS
        ]
    if name == "clamped_grad":
        return [(f"incoming gradient {g:g}", ste.Ste(name).backward()(g * one, A) / g) for g in (1.0, 2.0, 4.0)]
    if name == "reinmax":
        drawn = {"+1 was drawn": -9.0, "-1 was drawn": 9.0, "without noise": 0.0}
        return [(label, ste.Ste(name).backward(torch.full_like(A, z))(one, A)) for label, z in drawn.items()]
    return [(label, estimator.backward()(one, A)) for label, estimator in variants(name)]


def forwards(name: str) -> list[Curve]:
    """The sign, and its expectation under the noise of each variant that changes it."""
    if name == "stompp":
        return [(f"share {s:g}", s * ste.sign(A) + (1 - s) * progressive.hardtanh(A)) for s in PROGRESS]
    curves = [("sign", ste.sign(A))]
    for label, each in variants(name):
        mean = 2 * noise.scaled(each.estimator.noise, each.noise_scale()).cdf(A) - 1
        if not any(torch.equal(mean, other) for _, other in curves):
            curves.append(("mean under the noise" if label == "factor" else f"mean, {label}", mean))
    if len(curves) == 2:
        curves[1] = ("mean under the noise", curves[1][1])
    return curves


def plot(name: str, path: Path) -> None:
    """The forward and the factor side by side, as SVG; the same bytes for the same code and matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: Any = {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "font.size": 9,
        "font.family": "sans-serif",
        "path.simplify_threshold": 0.2,
    }
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
        sides: tuple[tuple[str, Callable[[str], list[Curve]]], ...] = (("forward", forwards), ("factor of the gradient", factors))
        for axis, (title, curves) in zip(axes, sides, strict=True):
            drawn = curves(name)
            lines = [curve for curve in drawn if curve[0] != "sign"]
            if len(lines) < len(drawn):
                axis.plot(A, drawn[0][1], color="0.6", linewidth=1.2, label="sign")
            for i, (label, values) in enumerate(lines):
                colour = matplotlib.colormaps["viridis"](0.85 * i / max(1, len(lines) - 1)) if len(lines) > 1 else "tab:blue"
                axis.plot(A, values, color=colour, linewidth=1.6, label=label, linestyle="--" if label == "without noise" else "-")
            axis.set(title=title, xlabel="a", xlim=(-2.5, 2.5))
            axis.set_ylim(
                *(
                    (-1.15, 1.15)
                    if title == "forward"
                    else (
                        min(0.0, axis.get_ylim()[0]),
                        (1.3 if len(drawn) > 1 else 1.08) * max(values.max() for _, values in drawn),
                    )
                )
            )
            if len(drawn) > 1:
                axis.legend(frameon=False, fontsize=7.5, loc="upper left" if title == "forward" else "best")
        figure.savefig(path, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        pyplot.close(figure)
    drawing = path.read_text(encoding="utf-8")
    drawing = re.sub(r"(\d+\.\d)\d{3,}", r"\1", drawing)  # a tenth of a point is enough; labels have fewer digits
    path.write_text("\n".join(line.strip() for line in drawing.splitlines()) + "\n", encoding="utf-8")


def linked(text: str) -> str:
    """The papers as links."""
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def formula(name: str) -> str:
    """The docstring of the backward, the first paragraph of the module's for stompp: its formula and paper."""
    if name == "stompp":
        return (
            linked(" ".join((progressive.__doc__ or "").split("\n\n")[0].split()))
            + "\n\n"
            + " ".join((progressive.__doc__ or "").strip().split("\n\n")[1].split())
        )
    backward = ste.ESTIMATORS[name].backward
    text = (getattr(backward, "func", backward).__doc__ or "").strip()
    return linked("\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")))


def keys(name: str) -> str:
    """A table of the option's own keys."""
    own = [each for each in fields(STES.get(name, SteConfig)) if each.name not in ("name", "stochastic")]
    if not own:
        return "It has no key of its own."
    rows = []
    for each in own:
        shown = str(each.default).lower() if isinstance(each.default, bool) else f"{each.default:g}"
        rows.append(f"| `ste.{each.name}` | {shown} | {each.metadata['allowed'] or 'true, false'} | {each.metadata['meaning']} |")
    return "\n".join(["| key | default | range | meaning |", "|---|---|---|---|", *rows])


def drawn(name: str) -> str:
    """The noise in words, and the window."""
    if name == "stompp":
        return "It comes with `weights=stompp`, whose keys hold its schedule, and takes no other noise."
    estimator = ste.Ste(name)
    (family,) = [key for key, each in noise.FAMILY.items() if each is estimator.estimator.noise]
    if estimator.annealed:
        scales = []
        for estimator.progress in (0.0, 1.0):
            scales.append(f"{estimator.noise_scale():g}")
        scale = scales[0] if scales[0] == scales[1] else f"{scales[0]} at the start of training and {scales[1]} at its end"
    else:
        scale = f"{estimator.noise_scale():g}"
    stochastic = "stochastic: true" in (ROOT / "configs" / "ste" / f"{name}.yaml").read_text(encoding="utf-8")
    by = "as is the default" if stochastic else "with `ste.stochastic=true`"
    by_key = " with the default keys" if name in STES and name != "hard_st" else ""
    return (
        f"Where noise is drawn, {by}, it is {family}, of scale {scale}{by_key}: training computes sign(a - Z), "
        "whose mean is the coloured curve on the left. Evaluation takes the sign without noise."
    )


def page(name: str) -> str:
    return "\n\n".join(
        [
            f"# {name}",
            formula(name),
            f"![Forward and factor of {name} over a]({name}.svg)",
            keys(name),
            drawn(name),
            f"Trained with `bnn-train {'weights' if name == 'stompp' else 'ste'}={name}`. [All estimators](index.md), "
            "[what an estimator is](../theory.md), [how near to the gradient each is](../lab.md).\n",
        ]
    )


def names() -> list[str]:
    return [*ste.ESTIMATORS, "stompp"]


def index() -> str:
    lines = [f"- [{name}]({name}.md): {first_sentence(name)}" for name in names()]
    text = (
        "The forward is the sign, or its expectation where noise is drawn; the gradient is multiplied by a factor, which depends "
        "on the sign's input a. [Estimators](../estimators.md) has them in one table, [theory](../theory.md) says why they exist. "
        "`python scripts/estimator_pages.py` writes these pages from `bnn_train/binary/ste.py`."
    )
    return "\n\n".join(["# Each estimator", text, "\n".join(lines) + "\n"])


def first_sentence(name: str) -> str:
    """Of the formula, without the paper."""
    text = "hardtanh turns into the sign, entry by entry and layer by layer" if name == "stompp" else formula(name).split("\n\n")[0]
    return re.sub(r" \((?=[^()]*\[arXiv).*$|:? ?\([A-Z][^()]*lecture.*$|\.$", "", text)


def pages() -> dict[str, str]:
    """The text of each file of the folder."""
    return {"index.md": index(), **{f"{name}.md": page(name) for name in names()}}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
    for name in names():
        plot(name, FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
