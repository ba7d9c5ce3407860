"""From the rules of the configuration to masks: which edges of each layer are frozen, pruned and penalised."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.weights import Binarizer
from bnn_train.config.edges import RuleConfig, placed
from bnn_train.edges import selectors
from bnn_train.errors import ConfigError, as_typed

Layers = dict[str, nn.Linear | nn.Conv2d]


@dataclass
class Masks:
    """Of one layer: booleans of its weight's shape, None where no edge is meant."""

    frozen: Tensor | None = None  # not updated, pruned ones apart
    pruned: Tensor | None = None
    penalties: list[tuple[float, Tensor]] = field(default_factory=list)  # strength, edges

    @property
    def held(self) -> Tensor | None:
        """Frozen and pruned together."""
        return union([mask for mask in (self.frozen, self.pruned) if mask is not None])


def union(masks: list[Tensor]) -> Tensor | None:
    return torch.stack(masks).any(dim=0) if masks else None


def resolve(rules: list[RuleConfig], layers: Layers) -> dict[str, Masks]:
    """The masks of every layer that a rule names.

    Raises ConfigError for a pattern that matches nothing, for options that a selector does not take, and for two rules that cannot
    both be followed.
    """
    check(rules, layers)
    chosen = []
    for position, rule in enumerate(rules):
        with placed(position, len(rules)):
            chosen.append((rule, _choose(rule, layers)))
    found = {}
    for name in layers:
        here = [(rule, masks[name]) for rule, masks in chosen if name in masks]
        if here:
            found[name] = _combine(name, here)
    return found


def matching(rule: RuleConfig, layers: Layers) -> list[str]:
    """The layers that the rule's pattern names, by their whole name or its last part: a layer in a block keeps its name."""
    names = [name for name in layers if fnmatchcase(name, rule.layers) or fnmatchcase(name.rpartition(".")[2], rule.layers)]
    if not names:
        raise ConfigError("edges.rules.layers", rule.layers, f"matches no layer; there are {', '.join(layers)}")
    return names


def check(rules: list[RuleConfig], layers: Layers) -> None:
    """Raises ConfigError where a rule cannot be followed, whatever the weights are: by the layers' names and kinds alone."""
    for position, rule in enumerate(rules):
        with placed(position, len(rules)):
            _check(rule, layers)


def _check(rule: RuleConfig, layers: Layers) -> None:
    for name in matching(rule, layers):
        binarizer = getattr(layers[name], "binarizer", None)
        if isinstance(binarizer, Binarizer):
            _check_kind(rule, name, binarizer)
        if isinstance(layers[name], CentredConv2d) and rule.what in ("freeze", "train"):
            remedy = f"model.stem=centred moves the edges of a filter of {name} by their mean after each step, frozen ones too"
            raise ConfigError("edges.rules.what", rule.what, f"{remedy}; use model.stem=real, or prune")


def _check_kind(rule: RuleConfig, name: str, binarizer: Binarizer) -> None:
    if rule.edges in ("magnitude", "n_m") and not binarizer.sized:
        raise ConfigError("edges.rules.edges", rule.edges, f"the weights of {name} are all equally large; use another selector")
    if rule.what == "l1" and binarizer.no_penalty:
        raise ConfigError("edges.rules.what", "l1", f"{binarizer.no_penalty} in {name}; use another optimizer, or other layers")
    if rule.what in ("freeze", "train") and binarizer.centre:
        remedy = f"weights.centre=true moves the edges of an output of {name} by their mean after each step, frozen ones too"
        raise ConfigError("edges.rules.what", rule.what, f"{remedy}; use weights.centre=false, or prune")
    if rule.what in ("freeze", "train") and binarizer.prepare != "none":
        remedy = f"weights.prepare={binarizer.prepare} mixes the edges of an output of {name}, so that a frozen one could flip"
        raise ConfigError("edges.rules.what", rule.what, f"{remedy}; use weights.prepare=none, or prune")


def _choose(rule: RuleConfig, layers: Layers) -> dict[str, Tensor]:
    given: dict[str, Any] = rule.options
    names = matching(rule, layers)
    if rule.edges == "file":
        masks = selectors.read_masks(given["file"])
        unknown = [key for key in masks if key not in layers] if isinstance(masks, dict) else []
        if unknown:
            raise ConfigError("edges.rules.file", given["file"], f"names {as_typed(unknown)}; the layers are {', '.join(layers)}")
    if rule.end_of_ramp:
        given["density"] = getattr(rule, "from_density", 0.0)
    return {name: selectors.SELECTORS[rule.edges](layers[name].weight, name, **given) for name in names}


def _combine(name: str, masks: list[tuple[RuleConfig, Tensor]]) -> Masks:
    """All rules about one layer together. Several that train add up: all others are frozen."""
    trained = union([mask for rule, mask in masks if rule.what == "train"])
    _refuse_contradictions(name, masks, trained)
    frozen = union([mask for rule, mask in masks if rule.what == "freeze"] + ([] if trained is None else [~trained]))
    pruned = union([mask for rule, mask in masks if rule.what == "prune"])
    if frozen is not None and pruned is not None:
        frozen &= ~pruned
    return Masks(frozen, pruned, [(rule.strength, mask) for rule, mask in masks if rule.strength is not None])


def _refuse_contradictions(name: str, masks: list[tuple[RuleConfig, Tensor]], trained: Tensor | None) -> None:
    for i, (first, one) in enumerate(masks):
        for second, other in masks[i + 1 :]:
            kinds = {first.what, second.what}
            if (first.end_of_ramp or second.end_of_ramp) and kinds in ({"train", "prune"}, {"freeze", "prune"}):
                clash = one | other  # the ramp may prune any edge of the layer one day
            elif kinds in ({"train", "freeze"}, {"train", "prune"}, {"l1", "freeze"}, {"l1", "prune"}):
                clash = one & other
            elif kinds == {"train", "l1"} and trained is not None:  # what is not trained is frozen: no penalty could change it
                clash = (other if first.what == "train" else one) & ~trained
            else:
                continue
            if clash.any():
                edge = ",".join(str(i) for i in clash.nonzero()[0].tolist())
                remedy = f"contradicts {second.described()} on {int(clash.sum()):,} edges of {name} ({edge} is the first)"
                raise ConfigError("edges.rules", first.described(), f"{remedy}; choose other edges for one of them")
