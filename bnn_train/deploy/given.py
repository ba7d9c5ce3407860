"""An operation's settings and tensors, each asked for with what it must be."""

from typing import Any

import numpy as np

from bnn_train.deploy.packed import Op, Shape, Unfit


class Given:
    """An operation's settings and tensors, each asked for with what it must be."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self._settings, self._tensors = set(op.settings), set(op.tensors)  # that nothing has asked for yet

    def untaken(self) -> set[str]:
        """The settings and tensors that nothing has asked for."""
        return self._settings | self._tensors

    def _setting(self, name: str) -> Any:
        self._settings.discard(name)
        return self.op.settings.get(name)

    def number(self, name: str, low: int, high: int) -> int:
        value = self._setting(name)
        if type(value) is not int or not low <= value <= high:
            raise Unfit(f"{name} must be a whole number from {low} to {high}")
        return value

    def pair(self, name: str, low: int, high: int = 4096) -> tuple[int, int]:
        value = self._setting(name)
        if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(v) is int and low <= v <= high for v in value):
            raise Unfit(f"{name} must be two whole numbers from {low} to {high}")
        return value[0], value[1]

    def yes(self, name: str) -> bool:
        value = self._setting(name)
        if type(value) is not bool:
            raise Unfit(f"{name} must be true or false")
        return value

    def tensor(self, name: str, shape: Shape, *types: str) -> np.ndarray:
        self._tensors.discard(name)
        array = self.op.tensors.get(name)
        if array is None:
            raise Unfit(f"lacks {name}")
        if array.shape != shape or array.dtype not in [np.dtype(t) for t in types]:
            raise Unfit(f"{name} must be {' or '.join(types)} of shape {list(shape)}, not {array.dtype} of {list(array.shape)}")
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise Unfit(f"{name} holds what is no number")
        return array

    def finite(self, name: str, shape: Shape) -> np.ndarray:
        array = self.tensor(name, shape, "float32")
        if np.isinf(array).any():
            raise Unfit(f"{name} holds an infinite number")
        return array

    def has(self, name: str) -> bool:
        return name in self.op.tensors

    def bits(self, name: str, rows: int, columns: int) -> np.ndarray:
        """Rows of bits, each padded with 0 to whole bytes."""
        array = self.tensor(name, (rows, -(-columns // 8)), "uint8")
        if columns % 8 and (array[:, -1] & (0xFF >> columns % 8)).any():
            raise Unfit(f"{name} has bits behind the end of a row")
        return array
