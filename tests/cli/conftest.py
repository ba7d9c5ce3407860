"""The one line for what a user typed, without a process of its own."""

import hydra
import pytest
from omegaconf import OmegaConf

from bnn_train.cli import arguments, compose, hydra_errors, own_files
from bnn_train.config.root import Config


def checked(said: str) -> str:
    """One line, and none of Hydra's words for its grammar."""
    assert "\n" not in said
    assert not [words for words in ("mismatched", "Lexer", "viable", "hydra.cc", "Traceback", "EOF") if words in said]
    return said


@pytest.fixture
def line(tmp_path, monkeypatch):
    """line("trainer.epochs=many") is the line of `bnn-train trainer.epochs=many` in an empty folder; "" where it would start."""
    monkeypatch.chdir(tmp_path)

    def function(*typed: str, schema: type = Config, name: str = "train") -> str:
        given = arguments.for_hydra(list(typed))
        monkeypatch.setattr("sys.argv", ["bnn-train", *given])
        folders = [f"file://{folder}" for folder in own_files.folders(given)]
        overrides = [argument for argument in given if not argument.startswith("-")]
        overrides = overrides[1:] if "-cd" in given else overrides
        compose.register()
        try:
            arguments.check_flags(given, schema)
            with hydra.initialize_config_dir(str(compose.CONFIGS.resolve()), version_base="1.3"):
                search = [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []
                composed = hydra.compose(name, [*overrides, *search], return_hydra_config=True)
                OmegaConf.set_struct(composed, True)
            hydra_errors.typed(composed, schema)
        except Exception as error:
            code, said = compose.ending(error, schema)
            if code is None:
                raise
            return checked(said)
        return ""

    return function
