"""bnn_train: binary neural networks, called from Python.

    run = bnn_train.train(["model=cnn", "trainer.epochs=3"])  # what bnn-train does, into a run directory
    run.summary["test_accuracy"], run.history, run.directory
    net = bnn_train.load(run.directory)                       # or a checkpoint, or an exported .bnn file
    net.predict(["photo.jpg"]), net.binary_weights(), net.evaluate()

The layers and estimators work in anybody's own network and loop: BinaryLinear, BinaryConv2d, Ste, constrain. `register` makes
options of functions of one's own (docs/plugins.md). Nothing is imported until it is asked for. docs/python.md has an example of
each.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn_train import register
    from bnn_train.binary.layers import BinaryConv2d, BinaryLinear, constrain
    from bnn_train.binary.ste import Ste
    from bnn_train.binary.weights import Real, Sign
    from bnn_train.errors import ConfigError, Diverged
    from bnn_train.interface.network import Network, load
    from bnn_train.interface.train import Run, train

_WHERE = {
    "BinaryConv2d": "binary.layers",
    "BinaryLinear": "binary.layers",
    "ConfigError": "errors",
    "Diverged": "errors",
    "Network": "interface.network",
    "Real": "binary.weights",
    "Run": "interface.train",
    "Sign": "binary.weights",
    "Ste": "binary.ste",
    "constrain": "binary.layers",
    "load": "interface.network",
    "register": "register",
    "train": "interface.train",
}

__all__ = [
    "BinaryConv2d",
    "BinaryLinear",
    "ConfigError",
    "Diverged",
    "Network",
    "Real",
    "Run",
    "Sign",
    "Ste",
    "constrain",
    "load",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"bnn_train.{_WHERE[name]}")
    return module if name == _WHERE[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
