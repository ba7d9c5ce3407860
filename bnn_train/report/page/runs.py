"""The part of the page about one run: its classes, its mistakes, its layers and their health."""

from collections.abc import Sequence

from bnn_train.report.jobs import Job
from bnn_train.report.page import layers, lines, markup, matrix, predicted
from bnn_train.report.page.charts import Panel
from bnn_train.report.page.markup import Cells
from bnn_train.report.page.parts import tables_network

MOST_VALUES = 20_000  # of health, of all runs together: about 0.3 MB in the page


_COLOURS = "Blue is right, the deeper the larger its share of the class; orange is wrong, the deeper the more often."
_UNSTORED = "The run has not stored the images themselves, as versions before this one did not."


def detail(job: Job, name: str, among: Sequence[Job], why: str, panels: list[Panel]) -> str:
    """A section; its charts are added to `panels`."""
    content = [
        markup.paragraph(why) if why else "",
        _notes(job),
        _classes(job, name, panels),
        _layers(job),
        _health(job, name, MOST_VALUES // max(1, len(among)), panels),
    ]
    if not any(content[1:]):
        content = [markup.paragraph("Nothing is recorded of its classes and layers yet.", "note")]
    network = tables_network(job)
    title = f"Classes and layers: {job.name}" if len(among) > 1 else "Classes and layers"
    return markup.section(name, title, markup.paragraph(f"Network: {network}.", "note") if network else "", *content)


def _notes(job: Job) -> str:
    """What the run said of itself."""
    notes = [str(note) for note in job.summary.get("notes") or []]
    return "".join(markup.paragraph(note, "warning") for note in notes)


def _classes(job: Job, name: str, panels: list[Panel]) -> str:
    found = predicted.read(job.folder)
    if found is None:
        return ""
    count = len(found.classes)
    content = ["<h3>Which classes it confuses</h3>"]
    if count <= matrix.MOST:
        panels.append(matrix.confusion(found, f"{name}-confusion"))
        numbers = "The numbers are test images." if count <= matrix.MOST_WITH_NUMBERS else "Point at a cell for its numbers."
        content.append(markup.panel(panels[-1].name, "matrix", ["Confusion matrix of the test images"], f"{numbers} {_COLOURS}"))
    content.append(_class_table(found))
    return "".join(content) + _mistakes(found)


def _class_table(found: predicted.Predicted) -> str:
    """Accuracy of each class, and for what it is taken most."""
    totals, right = found.confusion.sum(axis=1), found.confusion.diagonal()
    said = found.confusion.sum(axis=0)
    shares = [float(r / t) if t else None for r, t in zip(right, totals, strict=True)]
    precise = [float(r / s) if s else None for r, s in zip(right, said, strict=True)]
    taken, often = [], []
    for i, row in enumerate(found.confusion):
        others = row.copy()
        others[i] = 0
        j = int(others.argmax())
        taken.append(f"{found.classes[j]} ({others[j]:,})" if others[j] else "")
        often.append(float(others[j]))
    texts = [["" if share is None else f"{share:.2%}" for share in each] for each in (shares, precise)]
    columns = [
        Cells("class", found.classes, right=False),
        Cells("images", [f"{n:,}" for n in totals], [float(n) for n in totals]),
        Cells("right", [f"{n:,}" for n in right], [float(n) for n in right]),
        Cells("accuracy", texts[0], shares, note="of its images the share that is right"),
        Cells("precision", texts[1], precise, note="of what is called so the share that is"),
        Cells("most often taken for", taken, often, right=False),
    ]
    return markup.table(columns, "Accuracy of each class", sortable=True)


def _mistakes(found: predicted.Predicted) -> str:
    if not found.mistakes:
        return markup.paragraph("It is wrong about no test image.")
    items = []
    for mistake in found.mistakes:
        words = f"{mistake.label}, taken for {mistake.guess} with {mistake.probability:.1%}"
        picture = f'<img src="{mistake.image}" alt="test image {mistake.index}: {markup.text(words)}">' if mistake.image else ""
        pair = f"<b>{markup.text(mistake.label)}</b> taken for <b>{markup.text(mistake.guess)}</b>"
        items.append(f"<li>{picture}{pair}<br><span>{mistake.probability:.1%} sure, image {mistake.index}</span></li>")
    shown = f"{len(found.mistakes)} of {found.wrong:,}" if len(found.mistakes) < found.wrong else f"all {found.wrong}"
    title = "<h3>What it is surest of and wrong about</h3>"
    content = title + markup.paragraph(f"The surest mistakes on the test images, {shown}.")
    if not any(mistake.image for mistake in found.mistakes):
        content += markup.paragraph(_UNSTORED, "note")
    return f'{content}<ul class="mistakes">{"".join(items)}</ul>'


def _layers(job: Job) -> str:
    found = layers.network(job.folder)
    if found is None:
        return ""
    columns, size = found
    note = "bits: of a weight x of an input. MACs: multiply-accumulates of an image."
    table = markup.table([markup.cells(column) for column in columns], "Layers of the network", total=True)
    return f"<h3>Layers</h3>{markup.paragraph(size)}{table}{markup.paragraph(note, 'note')}"


def _health(job: Job, name: str, most: int, panels: list[Panel]) -> str:
    found = layers.of_health(job.folder, most)
    if found is None:
        return ""
    panels.append(lines.layer_health(found, f"{name}-health"))
    chart = markup.panel(panels[-1].name, "alone", ["Binary layers over the epochs"])
    table = markup.table([markup.cells(column) for column in found.newest], f"Binary layers in epoch {found.epoch}")
    return f"<h3>Health of the binary layers</h3>{chart}{markup.folded(f'Every figure in epoch {found.epoch}', table)}"
