"""Several optimizers, each with parameters of its own, as one."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


class Together(Optimizer):
    """An optimizer whose step is that of all its `parts`. Its groups and state are theirs: what changes one changes the other."""

    parts: tuple[Optimizer, ...] = ()

    def __init__(self, *parts: Optimizer) -> None:
        super().__init__([{"params": group["params"]} for part in parts for group in part.param_groups], {})
        self.parts = parts

    @property
    def moves_without_gradient(self) -> bool:
        return any(getattr(part, "moves_without_gradient", True) for part in self.parts)

    @property  # type: ignore[override]
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    @param_groups.setter
    def param_groups(self, groups: object) -> None:
        """torch's constructor starts with empty ones."""

    @property  # type: ignore[override]
    def state(self) -> dict[Any, Any]:
        return {parameter: state for part in self.parts for parameter, state in part.state.items()}

    @state.setter
    def state(self, state: object) -> None:
        """As above."""

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step(closure)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(own)
