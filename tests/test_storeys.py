"""The storeys of the house: a module imports only what stands below its own, and inside its own folder."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bnn_train"
# From the bottom to the top; what shares a storey does not import each other.
STOREYS = (
    {"errors", "startup", "ranks"},
    {"files", "device"},
    {"kernels"},
    {"config", "report"},
    {"register"},
    {"plugins"},
    {"binary", "data"},
    {"models", "edges", "optim"},
    {"training"},
    {"runs"},
    {"lab", "deploy"},
    {"cli"},
    {"interface"},
    {"__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(STOREYS) for room in rooms}
# What loads before torch is known to be needed: rooms, and single files of others.
NO_TORCH = ("errors", "startup", "files", "config", "register", "plugins", "cli", "report")
DRAWS = {PACKAGE / "report" / "lab.py", *(PACKAGE / "report").glob("lab_*.py")}  # which laboratory.py loads when it is time
NO_TORCH_FILES = {"runs/directory.py", "runs/interrupt.py", "runs/plan.py"}


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path):
    """(module, whether it is imported when the file is, line) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for name in node.names:
                yield f"{node.module}.{name.name}", id(node) in at_once, node.lineno
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) in at_once, node.lineno


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def is_light(path):
    return room_of(path) in NO_TORCH or str(path.relative_to(PACKAGE)) in NO_TORCH_FILES


def test_every_room_stands_on_a_storey():
    assert {room_of(path) for path in FILES} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    room = room_of(path)
    for module, _, line in imports(path):
        parts = module.split(".")
        if parts[0] == "bnn_train" and parts[1] != room:
            assert LEVEL[parts[1]] < LEVEL[room], f"{path}:{line}: {room} imports {module}"


@pytest.mark.parametrize("path", [path for path in FILES if is_light(path)], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_loaded_before_the_configuration_is_checked_loads_no_torch(path):
    for module, at_once, line in imports(path):
        heavy = module.split(".")[0] in ("torch", "torchvision", "numpy", "matplotlib") and not path.match(
            "bnn_train/report/lab*.py"
        )
        room, _, name = module.removeprefix("bnn_train.").partition(".")
        light = room in NO_TORCH or f"{room}/{name.split('.')[0]}.py" in NO_TORCH_FILES
        inside = module.startswith("bnn_train.") and not light
        assert not (at_once and (heavy or inside)), f"{path}:{line}: {module}"
