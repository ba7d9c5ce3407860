"""Whether saved tensors are those of a network, and in words what is wrong where they are not."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bnn_train.errors import ConfigError
from bnn_train.runs.resume import changed_plugins, network_state

_MOST = 4  # names of a kind that are listed


def check(state: Mapping[str, Any], model: nn.Module, key: str, path: object) -> None:
    """Raises ConfigError where a checkpoint's network is not what its configuration makes now, as where a plugin has changed."""
    if wrong := misfit(network_state(state)["model"], model.state_dict()):
        changed = changed_plugins(state)
        why = changed[0].partition(":")[0] if changed else "its model is another one by now"
        raise ConfigError(key, path, f"{why}, and what was saved does not fit: {wrong}")


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
