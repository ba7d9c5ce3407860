"""The folder that data.root names."""

from pathlib import Path

from bnn_train.config.data import DataConfig
from bnn_train.errors import ConfigError


def root_of(config: DataConfig) -> Path:
    """data.root with ~ replaced. Raises ConfigError where that is the home of nobody."""
    try:
        return Path(config.root).expanduser()
    except RuntimeError as error:
        raise ConfigError("data.root", config.root, f"is no path ({str(error).lower()}); write the folder in full") from None
