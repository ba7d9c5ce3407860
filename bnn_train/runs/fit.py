"""Whether saved tensors are those of a network, and in words what is wrong where they are not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bnn_train.binary.progressive import is_state
from bnn_train.errors import ConfigError
from bnn_train.runs.resume import changed_plugins, network_state

_MOST = 4  # names of a kind that are listed


@contextmanager
def expected(state: Mapping[str, Any], model: nn.Module, key: str, path: object) -> Iterator[None]:
    """Around loading a checkpoint into `model`, which its configuration makes now.

    Raises ConfigError where it does not fit, as where a plugin has changed.
    """
    try:
        yield
    except RuntimeError as error:
        wrong = misfit(_network(network_state(state)["model"]), _network(model.state_dict()))
        if not wrong:
            raise
        changed = changed_plugins(state)
        why = changed[0].partition(":")[0] if changed else "its model is another one by now"
        raise ConfigError(key, path, f"{why}, and what was saved does not fit: {wrong}") from error


def _network(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not is_state(name)}


def misfit(saved: Mapping[str, Tensor], own: Mapping[str, Tensor], may_lack: tuple[str, ...] = ()) -> str:
    """What keeps `saved` from being loaded into a network with the tensors `own`; "" where nothing does.

    may_lack: how the names end of what need not be there.
    """
    wrong = [
        f"{name} is {tuple(saved[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own
        if name in saved and saved[name].shape != own[name].shape
    ]
    missing = [name for name in own if name not in saved and not name.endswith(may_lack)]
    more = [name for name in saved if name not in own]
    said = _few(wrong, "; ")
    said += [f"it lacks {names}" for names in _few(missing)] + [f"it has {names} too much" for names in _few(more)]
    return "; ".join(said)


def _few(names: Sequence[str], between: str = ", ") -> list[str]:
    """One text of the first of many names, or none."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return [between.join(names[:_MOST]) + more] if names else []
