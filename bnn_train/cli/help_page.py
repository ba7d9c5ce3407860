"""What --help prints: groups, options and commands; with choices such as model=cnn each key of what they give."""

import textwrap
import types
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from bnn_train import register
from bnn_train.cli import compose, methods, own_files, plug
from bnn_train.cli.arguments import check_flags, quoted
from bnn_train.config.checks import Group
from bnn_train.config.root import SEVERAL
from bnn_train.errors import as_typed

WIDTH = 80  # characters, the default of terminals
USAGE = {
    "train": """\
bnn-train: train binary neural networks (weights and activations in {-1,+1})
from configuration files

Usage: bnn-train [group=option] [key=value] [method=name] [-m for a sweep]
""",
    "lab": """\
bnn-lab: measure gradient estimators of stochastic binary networks against the
exact gradient

Usage: bnn-lab [protocol=name] [key=value] [-m for several studies]
""",
}
COMMANDS = {
    "train": """\
bnn-train                                    a binary MLP on digits, in seconds
bnn-train model=cnn --help                   each key of what this would run
bnn-train resume=outputs/DATE/TIME           continue a run that was stopped
bnn-train ste=none weights=real              the real-valued twin
bnn-train data=mnist data.root=~/data        MNIST, downloaded on first use
bnn-train experiment=photos data.root=photos your own images, a folder a class
bnn-train method=xnor model=resnet20         a published method on a network
bnn-train -m ste=identity,clipped seed=0,1   a sweep, ending in a table
bnn-train experiment=mnist_cnn dry_run=true  a recipe, and only what it would do
bnn-eval outputs/DATE/TIME                   evaluate a saved network
bnn-export outputs/DATE/TIME -o m.bnn        a file of 1 bit a weight, no torch
bnn-predict m.bnn photos/                    the classes of image files
bnn-report sweeps/NAME --html page.html      its table, and a page of it
bnn-study model=mlp methods=bnn,xnor seeds=3 methods beside their real twin
bnn-lab --help                               estimators on their own
""",
    "lab": """\
bnn-lab                                      every estimator, in ten networks
bnn-lab protocol=psa --help                  each key of what this would run
bnn-lab protocol=single_layer                one layer under known losses
bnn-lab protocol.train_with.name=tanh        trained with straight-through
bnn-lab protocol.epochs=[10] protocol.samples=1000
bnn-lab protocol.estimators.gumbel.temperature=0.5
bnn-lab '+protocol.estimators.mine={name: clipped, clip: 0.5}'
                                             one more estimator
bnn-lab '~protocol.estimators.arm' protocol.plotted=[tanh,disarm]
                                             one fewer, and which to plot
bnn-lab protocol.networks=20                 ten more than the default
bnn-lab -m seed=0,1,2                        three studies, and one table of all
""",
}
LAST = """\
Completion on Tab:   eval "$(bnn-train -sc install=bash)"   (or zsh, fish)
Hydra's own flags:   bnn-train --hydra-help
"""


def page(name: str, arguments: list[str]) -> str:
    """Of `bnn-train` (name train) or `bnn-lab` (lab) with these arguments. Raises Hydra's errors where choices do not compose."""
    check_flags(arguments)
    overrides = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    folders = [compose.CONFIGS, *own_files.folders(arguments)]
    if overrides:
        search = quoted([f"hydra.searchpath=[{','.join(str(folder.resolve()) for folder in folders[1:])}]"]) if folders[1:] else []
        keys = _keys(compose.compose([*overrides, *search], name))
        heads = [line for name in plug.named(arguments) for line in _offered(name)]
        heads += [line for file in methods.files(arguments) for line in _said(file)]
        for name in register.FOUND["method"]:
            if f"method={name}" in arguments:
                heads += ["", f"== method={name} ==", "", *_about("method", name)]
        return "\n".join([*heads, *keys])
    return "\n".join(
        [
            USAGE[name],
            "== Groups and their options (choose with group=option) ==\n",
            *_groups(name, folders),
            "\nWith any of them --help lists each key: type, value, range and meaning.\n",
            "== Useful commands ==\n",
            COMMANDS[name],
            LAST if name == "train" else LAST.splitlines()[1].replace("bnn-train", "bnn-lab") + "\n",
        ]
    )


def _groups(name: str, folders: list[Path]) -> list[str]:
    """A paragraph for each group: its name and its options."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for file in folder.glob("*/*.yaml"):
            found.setdefault(file.parent.name, set()).add(file.stem)
    for group, options in register.FOUND.items():
        found[group] |= set(options)
    shown = {group for group in found if (group == "protocol") == (name == "lab") and group != "hydra"}
    indent = " " * 14
    return [
        textwrap.fill(f"  {group:<12}" + ", ".join(sorted(found[group])), WIDTH, subsequent_indent=indent)
        for group in sorted(shown)
    ]


def _offered(plugin: str) -> list[str]:
    """The options of a plugin, each with what its author says of it."""
    options = [(f"{each.group}={each.name}", each.about) for each in register.of(plugin)]
    wide = max((len(option) for option, _ in options), default=0)
    indent = " " * (wide + 4)
    texts = [f"  {option:<{wide}}  {about}".rstrip() for option, about in options]
    lines = [textwrap.fill(text, WIDTH, subsequent_indent=indent) for text in texts]
    return ["", f"== plugins: {plugin} ==", "", *lines] if lines else []


def _said(file: Path) -> list[str]:
    """The comment at the head of a method's or an experiment's file."""
    heading = f"== {file.parent.name}={file.stem} =="
    lines = (textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ") for text in methods.head(file))
    return ["", heading, "", *(line for wrapped in lines for line in wrapped)]


def _about(group: str, option: str | None) -> list[str]:
    """What a plugin says of an option of its own."""
    plugged = register.FOUND.get(group, {}).get(option or "")
    return textwrap.wrap(plugged.about, WIDTH, initial_indent="  ", subsequent_indent="  ") if plugged else []


def _keys(composed: DictConfig) -> list[str]:
    """Two lines for each key: key=value with type, range and unit; meaning."""
    lines = []
    for key, node in _nodes(composed):
        kind = OmegaConf.get_type(node)
        if isinstance(kind, type) and issubclass(kind, Group):
            group, _, last = key.partition(".")
            option = node.get("name") or node.get("mode")
            lines.append(f"\n== {key}{f' ({option})' if option and option != last else ''} ==\n")
            lines += _about(group, option)
            lines += _of(kind, node, f"{key}.")
    lines.append("\n== of the whole run ==\n")
    root = OmegaConf.get_type(composed)
    lines += _of(root, composed, "") if isinstance(root, type) else []
    return [*lines, ""]


def _nodes(composed: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """The groups, and in their place those below them where there are several."""
    for key, node in composed.items_ex(resolve=False):
        if isinstance(node, DictConfig):
            yield from ((f"{key}.{name}", node[name]) for name in map(str, node)) if key == SEVERAL else [(str(key), node)]


def _of(kind: type, node: DictConfig, prefix: str) -> list[str]:
    hints, values = get_type_hints(kind), OmegaConf.to_container(node)
    assert isinstance(values, dict)
    lines = []
    for each in fields(kind):
        if not each.metadata.get("meaning"):
            continue  # what stands for a group, or is the option's name
        allowed, unit = each.metadata["allowed"], each.metadata["unit"]
        if not isinstance(allowed, str):
            allowed = "one of " + ", ".join(as_typed(choice) for choice in allowed)
        what = ", ".join(part for part in (each.metadata["kind"] or _in_words(hints[each.name]), allowed, unit) if part)
        line = f"  {prefix}{each.name}={as_typed(values.get(each.name))}  ({what})"
        fits = len(line) <= WIDTH  # wrapping would also make one space of two
        lines += [line] if fits else textwrap.wrap(line, WIDTH, subsequent_indent=" " * 6, break_long_words=False)
        lines += textwrap.wrap(each.metadata["meaning"], WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines


def _in_words(kind: Any) -> str:
    """A type as a person would say it."""
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return f"list of {_in_words(item)}" if get_origin(item) is not list else f"list of lists of {_in_words(get_args(item)[0])}"
    if isinstance(kind, types.UnionType):
        return " or ".join("null" if part is type(None) else _in_words(part) for part in get_args(kind))
    names = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return names.get(kind, "{...}" if get_origin(kind) is dict else "any")
