"""The tables that a run prints: its network before training, its result after it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnn_train.files import for_people
from bnn_train.report import classes, grid
from bnn_train.report.grid import Column

MOST_ROWS = 24  # of a network's table: one of more has a single row for all that multiplies nothing


def network_table(rows: Sequence[Any]) -> str:
    """Layer by layer (models.layer_table.LayerRow) with a total, and the size beside that of a float32 network."""
    totals = network_totals(rows)
    sizes = network_size(totals)
    if len(rows) > MOST_ROWS:
        rows = _together(rows)
    return f"{grid.table(network_columns(rows, totals), 'network', total=True)}\n{grid.sentence(sizes)}"


def network_size(totals: Mapping[str, int]) -> str:
    """In words, of what network_totals gives."""
    ratio = totals["float32_bytes"] / totals["bytes"]
    return f"{size(totals['bytes'])} in memory after training; in float32 {size(totals['float32_bytes'])}, {ratio:.1f}x as much"


def network_columns(rows: Sequence[Any], totals: Mapping[str, int]) -> list[Column]:
    """The columns of the layers' table, the totals last. bits: of a weight x of an input, such as 1x32."""
    counted = [row.binary_macs + row.real_macs > 0 for row in rows]

    def macs(kind: str) -> list[str]:
        each = [f"{getattr(row, kind):,}" if counts else "" for row, counts in zip(rows, counted, strict=True)]
        return [*each, f"{totals[kind]:,}"]

    bits = [f"{row.weight_bits}x{row.input_bits}" if counts else "" for row, counts in zip(rows, counted, strict=True)]
    return [
        Column("layer", [*(row.name or row.kind for row in rows), "total"], right=False, dotted=True),
        Column("output", [*("x".join(str(size) for size in row.output_shape) for row in rows), ""], spare=2),
        Column("parameters", [*(f"{row.parameters:,}" for row in rows), f"{totals['parameters']:,}"]),
        Column("bits", [*bits, ""]),
        Column("binary MACs", macs("binary_macs")),
        Column("real MACs", macs("real_macs")),
        Column("memory", [*(size(row.bytes) for row in rows), size(totals["bytes"])], spare=1),
    ]


def _together(rows: Sequence[Any]) -> list[Any]:
    """The layers that multiply, and one row for the others, whose parameters are numbers for each channel."""
    layers = [row for row in rows if row.binary_macs + row.real_macs > 0]
    others = [row for row in rows if row.binary_macs + row.real_macs == 0]
    if not others:
        return layers
    sums = {key: sum(getattr(row, key) for row in others) for key in ("parameters", "bytes")}
    return [*layers, replace(others[0], name=f"{len(others)} norms and others", output_shape=(), **sums)]


def network_totals(rows: Sequence[Any]) -> dict[str, int]:
    """Sums over the layers, for summary.json."""
    dicts = [vars(row) for row in rows]
    totals = {key: sum(row[key] for row in dicts) for key in ("parameters", "binary_macs", "real_macs", "bytes", "binary_weights")}
    saved = sum(4 * row["binary_weights"] - -(-row["binary_weights"] // 8) for row in dicts)
    return {**totals, "float32_bytes": totals["bytes"] + saved}


def edges_table(rows: Sequence[Any]) -> str:
    """How many edges of each layer (edges.apply.EdgeRow) are trained, frozen, pruned, penalised, and which share is pruned."""
    columns = [Column("layer", [row.name for row in rows], right=False, dotted=True)]
    for name in ("edges", "trained", "frozen", "pruned"):
        columns.append(Column(name, [f"{getattr(row, name):,}" for row in rows]))
    columns.append(Column("sparsity", [f"{row.pruned / row.edges:.1%}" for row in rows]))
    if any(row.penalised for row in rows):
        columns.append(Column("penalised", [f"{row.penalised:,}" for row in rows]))
        near = [f"{row.near_zero / row.penalised:.1%}" if row.penalised else "" for row in rows]
        columns.append(Column("below 0.001", near))
    return grid.table(columns, "chosen edges")


def size(count: int) -> str:
    """Bytes for people, in steps of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def duration(seconds: float) -> str:
    """h:mm:ss, or seconds with one decimal under a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def result_table(summary: dict[str, Any], run_dir: object) -> str:
    """The result of a run, from its summary.json, and where it lies."""
    return f"{grid.pairs(result_rows(summary), 'result')}\n\nsaved in {run_dir}"


def stages_table(stages: Sequence[Mapping[str, Any]]) -> str:
    """The stages of a run, from its summary.json: the figures of the network that each gave."""
    return grid.table(stages_columns(stages), "stages")


def stages_columns(stages: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of that table."""
    held_out = [f"{each['val_accuracy']:.2%}" if "val_accuracy" in each else "" for each in stages]
    columns = [
        Column("stage", [each["name"].removeprefix("stage") for each in stages]),
        Column("bits", [each["bits"] for each in stages], right=False),
        Column("from", [each.get("init_from", "new weights") for each in stages], right=False, spare=1),
        Column("teacher", [each.get("teacher", "") for each in stages], right=False, spare=2),
        Column("epochs", [str(each["epochs"]) for each in stages]),
        *([Column("val", held_out)] if any(held_out) else []),
        Column("test", [f"{each['test_accuracy']:.2%}" for each in stages]),
        Column("time", [duration(each["seconds"]) for each in stages]),
    ]
    return [column for column in columns if any(column.cells)]


def result_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the result's table."""
    rows = []
    for split in ("test", "test_ensemble", "val", "val_ensemble", "train"):
        if summary.get(f"{split}_accuracy") is not None:
            rows.append((f"{split.replace('_', ' ')} accuracy", f"{summary[f'{split}_accuracy']:.2%}"))
    rows.append(("network", f"{summary['chosen']} ({summary['checkpoint']})"))
    if "stages" in summary:
        rows.append(("stages", f"this is the network of the last of {len(summary['stages'])}; the time is that of all"))
    rows += [_not_chosen(each) for each in summary.get("candidates", []) if each["kind"] != summary["kind"]]
    if "ended" in summary:
        rows.append(("ended", summary["ended"]))
    if "teacher" in summary:
        teacher = summary["teacher"]
        where = for_people(Path(teacher["network"]))
        rows.append(("teacher", f"{where}, {teacher['bits']}; {teacher['share_of_step']:.0%} of a training step"))
    limits = [f"{count:,} {split} images" for split, count in summary.get("limits", {}).items() if count is not None]
    if limits:
        rows.append(("limited", f"to {' and '.join(limits)}, the first of a fixed shuffle"))
    rows.append(("time", f"{duration(summary['seconds'])}, {summary['images_per_second']:,.0f} training images per second"))
    if "share_waited" in summary:
        rows.append(("images", f"on the disk; waiting for them took {summary['share_waited']:.1%} of the training time"))
    rows.append(("device", summary["device"]))
    return rows


def _not_chosen(candidate: Mapping[str, Any]) -> tuple[str, str]:
    name = {"last": "trained", "best": "trained"}.get(candidate["kind"], candidate["kind"])
    splits = ("test", "test_ensemble", "val", "val_ensemble")
    shown = [f"{split.replace('_', ' ')} {candidate[key]:.2%}" for split in splits if (key := f"{split}_accuracy") in candidate]
    return name, f"not chosen: {', '.join(shown)}"


KINDS = {
    "reached": "what the run had reached",
    "best": "best on the held-out images",
    "last": "the last",
    "averaged": "the average of its steps",
    "recalibrated": "with recomputed BatchNorm statistics",
}
OTHER_IMAGES = (
    "these are other images than the network was trained and measured with: as many, of the same classes, but not the same "
    "pixels (other files, or decoded by another version of Pillow)"
)


def evaluation_table(result: dict[str, Any]) -> str:
    """What bnn-eval found."""
    rows = []
    for split in ("test", "val"):
        for name in (split, f"{split}_ensemble"):
            if f"{name}_accuracy" in result:
                accuracy, loss = result[f"{name}_accuracy"], result[f"{name}_loss"]
                rows.append((name.replace("_", " "), f"{result[f'{split}_images']:,}", f"{accuracy:.2%}", f"{loss:.4f}"))
    names, *numbers = zip(*rows, strict=True)
    columns = [Column("split", names, right=False)]
    columns += [Column(name, cells) for name, cells in zip(("images", "accuracy", "loss"), numbers, strict=True)]
    alike = "note: the network is not stochastic, so all that are drawn of it are this one"
    drawn = [grid.sentence(alike)] if result.get("stochastic") is False else []
    by_class = classes.table(result)
    parts = [which_network(result), *_which_images(result), *drawn, "", grid.table(columns), *(["", by_class] if by_class else [])]
    return "\n".join(parts)


def _which_images(result: Mapping[str, Any]) -> list[str]:
    """Of the images, what must be said of them: other ones than the network's own, or its test images by themselves."""
    if "missing_classes" not in result:
        if result.get("same_images", True):
            return []
        where = f"{result['data']}: " if "data" in result else ""
        whole = f"; measured are the {result['test_images']:,} that would be its test images, of a folder test/ it would be all"
        return [grid.sentence(f"note: {where}{OTHER_IMAGES}{whole}")]
    those = f"{result['test_images']:,} images of {result['data']}"
    if result["same_images"]:
        return [grid.sentence(f"on {those}, the run's own test images")]
    lines = [grid.sentence(f"note: measured on {those}: not the run's own; where it was trained on some, that flatters it")]
    if missing := result["missing_classes"]:
        names = ", ".join(missing[:10]) + (f" and {len(missing) - 10:,} more classes" if len(missing) > 10 else "")
        lines.append(grid.sentence(f"note: there is no image of {names}"))
    return lines


def which_network(result: Mapping[str, Any]) -> str:
    """checkpoint, kind, epoch, step, stages in words; the checkpoint alone where no more is known."""
    if "kind" not in result:
        return grid.fold([str(result["checkpoint"])])
    last_of = [f"of the last of {result['stages']:,} stages"] if "stages" in result else []
    when = f"after {moment(result['epoch'], result['step'])}"
    return grid.fold([f"{result['checkpoint']},", f"{KINDS[result['kind']]},", when, *last_of])


def moment(epoch: int, step: int) -> str:
    """Finished epochs, and steps of the next one."""
    steps = f"{step:,} step{'s' * (step != 1)}"
    return f"epoch {epoch}" if not step else f"epoch {epoch} and {steps}" if epoch else steps
