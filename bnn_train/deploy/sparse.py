"""How a pruned layer lies in a file: the signs of its connected edges alone, and which edges these are.

Which they are is a bit for each edge (`mask`) or, where that is smaller, a byte for each connected edge (`gaps`): how many pruned
ones come before it, row after row; 255 stands for 255 pruned ones with no connected edge behind them. With a tenth of the edges
left a weight takes 0.9 bits, with a hundredth 0.1.
"""

import numpy as np

from bnn_train.deploy.packed import Unfit, packed_bits, unpacked_bits

_SKIP = 255
MOST_EDGES = 2**29  # of all pruned layers of a file: their weights and masks take 128 MB in memory


def as_stored(weight: np.ndarray, mask: np.ndarray, inputs: int) -> dict[str, np.ndarray]:
    """Of rows of bits, uint8 (outputs, bytes), with `inputs` edges each: {"signs": ..., and "mask" or "gaps"}."""
    connected = unpacked_bits(mask, inputs).astype(bool)
    signs = np.packbits(unpacked_bits(weight, inputs)[connected])
    gaps = _gaps(np.flatnonzero(connected))
    return {"signs": signs, "gaps": gaps} if len(gaps) < mask.size else {"signs": signs, "mask": mask}


def as_used(stored: dict[str, np.ndarray], outputs: int, inputs: int) -> dict[str, np.ndarray]:
    """{"weight": rows of bits, "mask": rows of bits} again. Raises Unfit."""
    if stored["signs"].dtype != np.uint8 or stored["signs"].ndim != 1:
        raise Unfit("signs must be uint8 in one row")
    if "mask" in stored:
        mask = stored["mask"]
        if mask.dtype != np.uint8 or mask.shape != (outputs, -(-inputs // 8)):
            raise Unfit(f"mask must be uint8 of shape {[outputs, -(-inputs // 8)]}")
        connected = unpacked_bits(mask, inputs).astype(bool)
    else:
        connected = np.zeros(outputs * inputs, bool)
        connected[_places(stored["gaps"], outputs * inputs)] = True
        connected = connected.reshape(outputs, inputs)
    count = int(connected.sum())
    bits = np.unpackbits(stored["signs"])
    if len(stored["signs"]) != -(-count // 8) or bits[count:].any():
        raise Unfit(f"has {len(bits)} signs for {count} edges")
    weight = np.zeros((outputs, inputs), np.uint8)
    weight[connected] = bits[:count]
    rows = {"weight": packed_bits(weight), "mask": packed_bits(connected)}
    for array in rows.values():
        array.flags.writeable = False  # as all tensors of a file
    return rows


def _gaps(places: np.ndarray) -> np.ndarray:
    """uint8, of the places of the connected edges, rising."""
    between = np.diff(places, prepend=-1) - 1
    skips = between // _SKIP
    gaps = np.full(len(places) + int(skips.sum()), _SKIP, np.uint8)
    gaps[np.cumsum(skips + 1) - 1] = between % _SKIP
    return gaps


def _places(gaps: np.ndarray, edges: int) -> np.ndarray:
    if gaps.dtype != np.uint8 or gaps.ndim != 1 or (gaps.size and gaps[-1] == _SKIP):
        raise Unfit("gaps must be uint8 in one row, with an edge behind the last")
    is_edge = gaps != _SKIP
    places: np.ndarray = np.cumsum(gaps.astype(np.int64) + is_edge)[is_edge] - 1
    if places.size and places[-1] >= edges:
        raise Unfit("gaps name an edge behind the last")
    return places
