"""Which keys and options there are, what the value of a key must be, and which key a mistyped one was meant to be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from bnn_train import register
from bnn_train.config.checks import Group
from bnn_train.config.lab import PROTOCOLS
from bnn_train.config.root import CONFIGS as CONFIGS
from bnn_train.config.root import OPTIONS, SEVERAL, WHOLE, Config
from bnn_train.config.words import close as close
from bnn_train.config.words import must_be, plain

# What the most used tools call the same thing (torch, Lightning, Keras, timm, Hugging Face's Trainer). Nothing that is only akin:
# a guess that misleads is worse than none.
SYNONYMS = {
    **dict.fromkeys(("learning_rate", "lr_rate", "lrate"), "optimizer.lr"),
    **dict.fromkeys(("wd", "decay"), "optimizer.weight_decay"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "nb_epochs"), "trainer.epochs"),
    **dict.fromkeys(("bs", "batch", "train_batch_size", "per_device_train_batch_size"), "trainer.batch_size"),
    **dict.fromkeys(("steps", "num_steps"), "trainer.max_steps"),
    **dict.fromkeys(("clip_grad", "gradient_clip_val", "max_grad_norm", "grad_clip"), "trainer.clip_grad_norm"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("data_dir", "data_path", "dataset_path", "data_root", "path"), "data.root"),
    **dict.fromkeys(("arch", "architecture", "net", "network"), "model"),
    **dict.fromkeys(("hidden_size", "hidden_sizes", "hidden_dims", "hidden_layers"), "model.hidden"),
    **dict.fromkeys(("lr_scheduler", "schedule", "lr_schedule"), "scheduler"),
    **dict.fromkeys(("warmup_epochs", "lr_warmup_epochs"), "scheduler.warmup"),
    **dict.fromkeys(("estimator", "surrogate"), "ste"),
    **dict.fromkeys(("output_dir", "out_dir", "log_dir", "save_dir"), "hydra.run.dir"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
    **dict.fromkeys(("pretrained", "checkpoint", "init"), "init_from"),
    **dict.fromkeys(("resume_from_checkpoint", "ckpt_path"), "resume"),
}


def groups_of(schema: type) -> dict[str, list[type]]:
    """The groups of a configuration, each with the dataclasses of its options, the one that all share first.

    Of loggers, of which several hold at once, each is a group of its own: logger.wandb.
    """
    hints = {name: kind for name, kind in get_type_hints(schema).items() if isinstance(kind, type) and is_dataclass(kind)}
    options: Mapping[str, Mapping[str, type]] = {**OPTIONS, "protocol": PROTOCOLS}
    groups = {name: list(dict.fromkeys([kind, *options.get(name, {}).values()])) for name, kind in hints.items()}
    return (
        {**groups, SEVERAL: [], **{f"{SEVERAL}.{name}": [kind] for name, kind in OPTIONS[SEVERAL].items()}}
        if schema is Config
        else groups
    )


def known(schema: type) -> list[str]:
    """Every key of every option, dotted."""
    groups = groups_of(schema)
    keys: dict[str, None] = {}
    for each in fields(schema):
        if each.name in groups:
            keys |= dict.fromkeys(f"{each.name}.{key.name}" for kind in groups[each.name] for key in fields(kind))
        else:
            keys[each.name] = None
    return list(keys)


def options(group: str, folders: Iterable[Path]) -> list[str]:
    """The options of a group: the files of its folder in each of the folders, and those of plugins."""
    files = {file.stem for folder in folders for file in (folder / group).glob("*.yaml")}
    return sorted(files | set(register.FOUND.get(group, ())))


def argument(key: str, arguments: Sequence[str]) -> str:
    """The last argument that sets a key, as it was typed; the key itself where none does."""
    named = [argument for argument in arguments if argument.lstrip("+~").partition("=")[0] == key]
    return named[-1] if named else key


def value_must_be(key: str, schema: type = Config) -> str:
    """ "must be a whole number of at least 1", of a dotted key; "" for one that is not known."""
    found = _field(key, schema)
    return must_be(found[0], found[1].metadata.get("allowed", ""), found[1].metadata.get("unit", "")) if found else ""


def meaning(key: str, schema: type = Config) -> str:
    """What a dotted key means; "" for one that is not known."""
    found = _field(key, schema)
    return str(found[1].metadata.get("meaning", "")) if found else ""


def _field(key: str, schema: type) -> tuple[Any, Field[Any]] | None:
    group, _, last = key.rpartition(".")
    kinds = groups_of(schema).get(group, []) if group else [schema]
    for kind in reversed(kinds):
        for each in fields(kind):
            if each.name == last and (group == "" or issubclass(kind, Group)):
                return get_type_hints(kind)[last], each
    return None


def meant(key: str, schema: type, takes: Iterable[str] = ()) -> str:
    """ "did you mean KEY?", for a key that does not exist but is spelled nearly so, or is called so elsewhere; else "".

    takes: the names that stand at its place, which are looked at first.
    """
    key = key.lstrip("+~").partition("@")[0].replace("/", ".").replace(":", ".")
    group, _, last = key.rpartition(".")
    prefix = f"{group}." if group else ""
    there = known(schema)
    names = [*there, *groups_of(schema), *(WHOLE if schema is Config else ())]
    found = [prefix + name for name in close(last, takes)]
    found = found or [name for name in names if plain(name) == plain(key)]
    found = found or [name for name in there if plain(name.rpartition(".")[2]) == plain(last)]
    if not found and schema is Config and plain(last) in map(plain, SYNONYMS):
        found = [name for synonym, name in SYNONYMS.items() if plain(synonym) == plain(last)][:1]
    if not found and not group:
        found = close(key, names) or [name for name in there if close(key, [name.rpartition(".")[2]])]
    if not found and group:
        found = [name for name in there if close(group, [name.rpartition(".")[0]]) and close(last, [name.rpartition(".")[2]])]
    return f"did you mean {' or '.join(list(dict.fromkeys(found))[:3])}?" if found else ""
