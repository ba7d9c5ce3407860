"""How the folders of data.root are laid out: which hold the training, held-out and test images, and which are classes.

train/<class>/  test/<class>/                   as they are
train/<class>/  val/<class>/  test/<class>/     val/ is the held-out set
train/<class>/  val/<class>/                    val/ is the test set, as ImageNet has it
<class>/, or train/<class>/ alone               data.test_fraction of the images is the test set
"""

from pathlib import Path
from typing import NamedTuple

from bnn_train.config.data import DataConfig
from bnn_train.data.image_files import folders_in, is_hidden, listing, suffixes
from bnn_train.data.root import root_of
from bnn_train.data.words import listed, readable
from bnn_train.errors import ConfigError

NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Layout(NamedTuple):
    """The folders that hold class folders; `notes` are lines for the user."""

    train: Path
    val: Path | None
    test: Path | None
    notes: list[str]


def layout(config: DataConfig) -> Layout:
    """The layout of config.root. Raises ConfigError where it is no folder, or could be read in two ways."""
    root = existing_root(config)
    visible = folders_in(root, config.root)
    roles: dict[str, list[Path]] = {}
    for path in visible:
        if path.name.lower() in NAMES:
            roles.setdefault(NAMES[path.name.lower()], []).append(path)
    others = [path for path in visible if path.name.lower() not in NAMES]
    if "train" in roles and (len(roles) > 1 or not others):
        return _split(config, roles, others)
    named = [path for paths in roles.values() for path in paths]
    if not named:
        return Layout(root, None, None, [])
    if others and all(_holds_images(path, config) for path in named):
        return Layout(root, None, None, [f"{_names(named)} taken for a class like {_names(others)}, since it holds images itself"])
    beside = f" beside {_names(others)}" if others else ""
    remedy = (
        f"{readable(root.absolute())} holds {_names(named)}{beside}, which can be read in two ways; "
        "it must hold train/ and test/ (and val/) with a folder for each class, or the class folders alone"
    )
    raise ConfigError("data.root", config.root, remedy)


def existing_root(config: DataConfig) -> Path:
    """data.root. Raises ConfigError where it is no folder."""
    root = root_of(config)
    try:
        is_folder = root.is_dir()
    except OSError as error:  # a folder above it may not be entered
        raise ConfigError("data.root", config.root, f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    if not is_folder:
        remedy = f"is not a folder (looked at {readable(root.absolute())}); it must hold one folder per class"
        raise ConfigError("data.root", config.root, remedy)
    return root


def _split(config: DataConfig, roles: dict[str, list[Path]], others: list[Path]) -> Layout:
    for paths in roles.values():
        if len(paths) > 1:
            raise ConfigError("data.root", config.root, f"holds both {_names(paths)}, which mean the same; keep one of them")
    train, val, test = (roles[role][0] if role in roles else None for role in ("train", "val", "test"))
    assert train is not None
    notes = []
    if others:
        notes.append(f"left out: {_names(others)} beside {_names([path for path in (train, val, test) if path is not None])}")
    if test is None and val is not None:
        notes.append(f"no test/ beside {_names([train, val])}: the test images are those of {val.name}/")
        val, test = None, val
    if val is not None and config.val_size:
        remedy = (
            f"{readable(val.name)}/ holds the images that are held out already; leave data.val_size at 0, or take the folder away"
        )
        raise ConfigError("data.val_size", config.val_size, remedy)
    if test is None:
        notes.append(f"no test/ beside {train.name}/: data.test_fraction={config.test_fraction:g} of its images is the test set")
    elif config.test_fraction != type(config).test_fraction:
        notes.append(f"data.test_fraction does nothing here: the test images are those of {test.name}/")
    return Layout(train, val, test, notes)


def classes(folder: Path, config: DataConfig) -> list[Path]:
    """The class folders, sorted. Raises ConfigError where there are fewer than two."""
    found = folders_in(folder, config.root)
    if len(found) < 2:
        words = f"only the class {readable(found[0].name)}" if found else "no class folder"
        inner = folders_in(found[0], config.root) if found and folder == root_of(config) else []
        hint = f"; {_names(inner)} lie one deeper: data.root={readable(found[0])} would read them" if len(inner) > 1 else ""
        remedy = f"{readable(folder.absolute())} holds {words}; it must hold a folder for each of two or more{hint}"
        raise ConfigError("data.root", config.root, remedy)
    return found


def note_on_depth(folders: list[Path], config: DataConfig) -> list[str]:
    """A line where class folders without an image of their own all hold the same sub-folders: these may be the classes."""
    inner = [{path.name for path in folders_in(folder, config.root)} for folder in folders]
    if len(inner[0]) < 2 or any(names != inner[0] for names in inner):
        return []
    deeper = listed([f"{name}/" for name in sorted(inner[0])])
    return [f"the classes are {_names(folders)}, though each holds the same folders {deeper}: the classes may lie one deeper"]


def _holds_images(folder: Path, config: DataConfig) -> bool:
    """Whether images lie in the folder itself, not in a folder of it."""
    return any(path.suffix.lower() in suffixes() and not is_hidden(path) for path in listing(folder, config.root))


def _names(paths: list[Path]) -> str:
    return listed([f"{path.name}/" for path in paths])
