"""The network as a file of 1 bit a weight, and its runner, which needs neither torch nor Hydra.

    from bnn_train.deploy import load
    network = load("m.bnn")
    network.predict(images)  # uint8 (N, channels, height, width) -> class numbers

Nothing is imported until `load` is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn_train.deploy.runner import Network, load

__all__ = ["Network", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bnn_train.deploy import runner

    return getattr(runner, name)
