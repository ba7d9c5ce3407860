"""The tables that a run prints: its network before training, its result after it."""

from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDTH = 80  # characters, the default of terminals; the log file and the terminal get the same text
LONGEST_NAME = 18  # characters of a layer's name on a line


def network_table(rows: Sequence[Any]) -> str:
    """Layer by layer (models.layer_table.LayerRow) with a total, and the size beside that of a float32 network.

    bits: of a weight x of an input, such as 1x32.
    """
    table = Table(title="network", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("\nlayer", overflow="fold")
    for name in ("\noutput", "\nparameters", "\nbits", "binary\nMACs", "real\nMACs", "\nmemory"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        macs = row.binary_macs + row.real_macs > 0
        bits = f"{row.weight_bits}x{row.input_bits}" if macs else ""
        counts = (f"{row.binary_macs:,}", f"{row.real_macs:,}") if macs else ("", "")
        shape = "x".join(str(size) for size in row.output_shape)
        table.add_row(escape(_folded(row.name or row.kind)), shape, f"{row.parameters:,}", bits, *counts, size(row.bytes))
    totals = network_totals(rows)
    table.add_section()
    counts = (f"{totals['binary_macs']:,}", f"{totals['real_macs']:,}")
    table.add_row("total", "", f"{totals['parameters']:,}", "", *counts, size(totals["bytes"]))
    ratio = totals["float32_bytes"] / totals["bytes"]
    sizes = f"{size(totals['bytes'])} in memory after training; in float32 {size(totals['float32_bytes'])}, {ratio:.1f}x as much"
    return f"{text(table)}\n{sizes}"


def _folded(name: str) -> str:
    """A long dotted name on several lines, broken at its dots."""
    lines = [""]
    for part in name.split("."):
        if lines[-1] and len(lines[-1]) + len(part) > LONGEST_NAME:
            lines.append("")
        lines[-1] += f"{part}."
    return "\n".join(lines).removesuffix(".")


def network_totals(rows: Sequence[Any]) -> dict[str, int]:
    """Sums over the layers, for summary.json."""
    dicts = [asdict(row) for row in rows]
    totals = {key: sum(row[key] for row in dicts) for key in ("parameters", "binary_macs", "real_macs", "bytes", "binary_weights")}
    saved = sum(4 * row["binary_weights"] - -(-row["binary_weights"] // 8) for row in dicts)
    return {**totals, "float32_bytes": totals["bytes"] + saved}


def edges_table(rows: Sequence[Any]) -> str:
    """How many edges of each layer (binary.edges.EdgeRow) are trained, frozen, pruned, penalised, and which share is pruned."""
    table = Table(title="chosen edges", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("\nlayer", overflow="fold")
    for name in ("\nedges", "\ntrained", "\nfrozen", "\npruned", "\nsparsity", "\npenalised", "below\n0.001"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        near = f"{row.near_zero / row.penalised:.1%}" if row.penalised else ""
        counts = (f"{row.edges:,}", f"{row.trained:,}", f"{row.frozen:,}", f"{row.pruned:,}", f"{row.pruned / row.edges:.1%}")
        table.add_row(escape(_folded(row.name)), *counts, f"{row.penalised:,}", near)
    return text(table)


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
    table = Table(title="result", box=box.SIMPLE_HEAD, show_header=False)
    for split in ("test", "test_ensemble", "val", "val_ensemble", "train"):
        if summary.get(f"{split}_accuracy") is not None:
            table.add_row(f"{split.replace('_', ' ')} accuracy", f"{summary[f'{split}_accuracy']:.2%}")
    table.add_row("network", f"{summary['chosen']} ({summary['checkpoint']})")
    limits = [f"{count:,} {split} images" for split, count in summary.get("limits", {}).items() if count is not None]
    if limits:
        table.add_row("limited", f"to {' and '.join(limits)}, the first of a fixed shuffle")
    table.add_row("time", f"{duration(summary['seconds'])}, {summary['images_per_second']:,.0f} training images per second")
    table.add_row("device", summary["device"])
    return f"{text(table)}\n\nsaved in {run_dir}"


def evaluation_table(result: dict[str, Any]) -> str:
    """What bnn-eval found."""
    table = Table("split", box=box.SIMPLE_HEAD)
    for name in ("images", "accuracy", "loss"):
        table.add_column(name, justify="right")
    for split in ("test", "val"):
        for name in (split, f"{split}_ensemble"):
            if f"{name}_accuracy" in result:
                accuracy, loss = result[f"{name}_accuracy"], result[f"{name}_loss"]
                table.add_row(name.replace("_", " "), f"{result[f'{split}_images']:,}", f"{accuracy:.2%}", f"{loss:.4f}")
    within = f" and {result['step']} steps" if result["step"] else ""
    kinds = {"reached": "what the run had reached", "best": "best on the held-out images", "last": "the last"}
    return f"{result['checkpoint']}, {kinds[result['kind']]}, after epoch {result['epoch']}{within}\n{text(table)}"


def text(table: Table, width: int = _WIDTH) -> str:
    """A table as plain lines."""
    console = Console(file=StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip("\n")
