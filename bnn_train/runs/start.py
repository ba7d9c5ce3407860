"""The weights that a new run starts with: those of another run, or of any real-valued network with the same layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.layers import BinaryLayer
from bnn_train.binary.progressive import is_state
from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint, fit
from bnn_train.runs.resume import config_of, network_state

KEY = "init_from"
_COUNTER = "num_batches_tracked"  # of steps, and read by nothing here
WITHIN = ("state_dict", "model", "model_state_dict", "model_state")  # keys under which others keep a state_dict


def weights_to_start_with(path: Path, model: nn.Module) -> dict[str, Any]:
    """{"model": tensors, "kind": weights.name} for a new run, from a run directory, a checkpoint, or a plain state_dict.

    A state_dict is a .pt or .safetensors file of tensors under torch's names; its weights are real ones. Raises ConfigError where
    it does not fit, with the names that do not.
    """
    found = _plain(path)
    if found is None:
        state = checkpoint.load(checkpoint.find(path, KEY), KEY)
        found, kind = network_state(state)["model"], config_of(state, to_train=False).weights.name
    else:
        kind = "real"
    saved, own = _network(found), _network(model.state_dict())
    if wrong := misfit(saved, own):
        raise ConfigError(KEY, path, f"does not fit the network: {wrong}")
    for name in own:
        if name.endswith(_COUNTER):
            saved.setdefault(name, torch.tensor(0))
    return {"model": saved, "kind": kind}


def misfit(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What keeps a network with the tensors `own` from starting with those found; "" where nothing does."""
    saved, own = _network(found), _network(own)
    may_lack = (_COUNTER, "scaling_factor")  # a learned scale starts from the weights
    return _other_place(saved, own) or fit.misfit(saved, own, may_lack)


def start_with(model: nn.Module, weights: Mapping[str, Any], kind: str) -> None:
    """Loads the weights into a new run's model; what another kind of weights holds (latent, natural) is made this kind's.

    Latent weights of the same kind may not have been centred there, or be means of -1 and +1, of an averaged network.
    """
    model.load_state_dict(weights["model"])
    for layer in model.modules():
        if isinstance(layer, BinaryLayer) and (weights["kind"] != kind or layer.binarizer.centre or layer.binarizer.whole):
            layer.binarizer.start(layer.weight)
        elif isinstance(layer, CentredConv2d):
            layer.constrain()


def _plain(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a plain state_dict; None for what checkpoint.load is to read, or to refuse."""
    if path.suffix == ".safetensors" and path.is_file():
        return _safetensors(path)
    if path.suffix not in (".pt", ".pth", ".bin") or not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of many types; checkpoint.load says what is wrong with the file
        return None
    if not isinstance(found, dict) or "format" in found:
        return None
    for key in WITHIN:
        if isinstance(found.get(key), dict):
            found = found[key]
            break
    if not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        return None
    return _unwrapped(found)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigError(KEY, path, "needs safetensors, which is not installed: pip install safetensors") from error
    try:
        return _unwrapped(load_file(path))
    except Exception as error:  # of several types
        raise ConfigError(KEY, path, "cannot be read as safetensors: it is cut short, damaged or foreign") from error


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the beginning that DataParallel and torch.compile put before every name."""
    for start in ("module.", "_orig_mod."):
        if all(name.startswith(start) for name in tensors):
            return _unwrapped({name.removeprefix(start): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def _other_place(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What to do where the names would fit but for their beginning: the network was, or is here, a part of another module."""
    for names, others, whose, less in (
        (saved, own, "its", "the network's"),
        (own, saved, "the network's", "its"),
    ):
        start = next(iter(names), "").partition(".")[0] + "."
        inside = [name.removeprefix(start) for name in names]
        if all(name.startswith(start) for name in names) and set(inside) & set(others) and not set(names) & set(others):
            return f"{whose} names begin with {start} and {less} do not; save the state_dict of the module that has the same layers"
    return ""


def _network(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the masks of progressive binarization, which belong to a run: a new one begins before its windows."""
    return {name: tensor for name, tensor in tensors.items() if not is_state(name)}
