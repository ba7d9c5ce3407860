"""What a file of wandb's, run-ID.wandb, holds: it is written with a delay, so after a crash nothing but the file tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER, _BLOCK, _HEAD = 7, 32768, 7  # bytes: of the file, of a block of LevelDB's log, of a piece's checksum, length and kind
_WHOLE, _LAST = 1, 4  # kinds of pieces that end a record


def steps(folder: Path, run_id: str) -> set[int] | None:
    """The steps that the files of a run have, in any of its folders; None where this wandb writes them otherwise.

    Its files are no public interface.
    """
    files = folder.glob(f"*run-*/run-{run_id}.wandb")
    try:
        return {record.history.step.num for file in files for record in records(file) if record.HasField("history")}
    except Exception:  # a module that has moved, a message of another shape
        return None


def records(file: Path) -> Iterator[Any]:
    """wandb's records, up to the first that a crash has cut."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record = file.read_bytes(), _HEADER, b""
    while at + _HEAD <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _HEAD:  # too few bytes for a piece are left over
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind == 0 or at + _HEAD + length > len(data):
            return
        record += data[at + _HEAD : at + _HEAD + length]
        at += _HEAD + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(record)
            record = b""
