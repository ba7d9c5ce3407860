"""What the commands share: a composed configuration, errors as one line, exit codes."""

import argparse
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer

from bnn_train import plugins
from bnn_train import register as registered
from bnn_train.cli import arguments, completion, endings, hydra_errors, names, side_by_side
from bnn_train.cli.keys import CONFIGS
from bnn_train.config import schema
from bnn_train.config.root import Config
from bnn_train.errors import ConfigError, Interrupted, PluginError
from bnn_train.report import terminal
from bnn_train.runs import directory

log = logging.getLogger(__name__)


def _let_hydra_help(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    """From Python 3.14 on argparse formats each help text when it gets it; one of Hydra 1.3 is an object (hydra issue 3121)."""
    if version >= (3, 14):
        argparse.ArgumentParser._check_help = lambda parser, action: None  # type: ignore[attr-defined]


_let_hydra_help()  # before any command asks for Hydra's flags


def command(function: Callable[[], object], schema: type = Config) -> None:
    """Runs a whole command, whose errors may be Hydra's too, as `endings.command` does."""
    endings.command(function, lambda error: ending(error, schema))


def job(function: Callable[[], Any], run_dir: Path, in_sweep: bool, in_search: bool = False, schema: type = Config) -> Any:
    """Runs one job of Hydra's, whose errors go to its log as well.

    Where it failed and others of its sweep go on: NaN, or in a search the error itself, which is how Hydra tells the sweeper.
    """
    try:
        return function()
    except (Interrupted, KeyboardInterrupt) as stop:
        if in_sweep and side_by_side.is_the_command():
            terminal.write(f"the whole sweep goes on with: bnn-train {shlex.join(sys.argv[1:])}\n", "stderr")
        sys.exit(ending(stop)[0])  # also ends a sweep
    except Exception as error:
        code, line = ending(error, schema)
        if code is None:
            log.exception("a defect in bnn-train, please report it")
        elif (isinstance(error, PluginError) and error.__cause__) or registered.behind(error) == line:  # code of the user's raised
            log.error("error: %s (hydra.verbose=true shows the traceback)", line)
            log.debug("", exc_info=True)
        elif _is_refusal(error) and not in_sweep and directory.holds_run(run_dir):
            terminal.say(f"error: {line}", "stderr")  # what the run is, and its log, is as before
        else:
            log.error("error: %s", line)
        if not in_sweep:
            sys.exit(code or 1)
        # The report at the sweep's end lists it and sets the exit code.
        (run_dir / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
        if in_search:
            raise
        return float("nan")


def _is_refusal(error: BaseException) -> bool:
    """Whether it is of what was asked for, and not of the machine or of what was read, which have raised something before."""
    return isinstance(error, ConfigError) and (error.__cause__ is None or _is_refusal(error.__cause__))


def ending(error: BaseException, schema: type = Config) -> endings.Ending:
    """(exit code, line for the user) of an error; (None, "") for a defect of the program."""
    code, line = endings.ending(hydra_errors.with_origin(error) if isinstance(error, ConfigError) else error)
    if code is None and (of_plugin := registered.behind(error)) is not None:
        return 2, of_plugin
    if code is None and hydra_errors.is_of_the_configuration(error):
        return 2, hydra_errors.one_line(error, schema)
    return code, line


def compose_and_call(name: str, task: Callable[[DictConfig], Any], schema: type = Config) -> None:
    """Hydra's main with the configuration configs/<name>.yaml."""
    register()
    logging.raiseExceptions = False  # a log file on a full disk: the error that names the file which matters is enough
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not as Hydra's own page about them
    completion.hide_schemas()
    command(lambda: arguments.check_flags(sys.argv[1:], schema), schema)
    command(hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(task), schema)


def register() -> None:
    """Makes the schemas and the resolvers that configs/train.yaml and lab.yaml name known to Hydra."""
    schema.register()
    plugins.store()
    OmegaConf.register_new_resolver("lab_dir", lambda *also, _root_: names.lab_dir(_root_, also), replace=True)
    OmegaConf.register_new_resolver("run_dir", names.run_dir, replace=True)
    OmegaConf.register_new_resolver("output_subdir", names.output_subdir, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", lambda *, _root_: names.sweep_dir(_root_), replace=True)
    OmegaConf.register_new_resolver("job_dir", lambda *also, _root_: names.job_dir(_root_.hydra.overrides.task, also), replace=True)


@contextmanager
def apart() -> Iterator[None]:
    """Within, Hydra is as in a process of its own; behind it is what the caller's program, which may use Hydra too, has made of it:
    its composing, its options in the ConfigStore, its resolvers."""
    globally, store = GlobalHydra.instance(), ConfigStore.instance()
    begun, options, resolvers = globally.hydra, store.repo, dict(BaseContainer._resolvers)
    globally.hydra = None
    store.repo = _hydras_own(options)
    try:
        yield
    finally:
        Singleton._instances[GlobalHydra] = globally  # type: ignore[assignment]  # Hydra has put another in its place
        globally.hydra = begun
        store.repo = options | _hydras_own(store.repo)  # which it fills but once
        BaseContainer._resolvers = resolvers


def _hydras_own(options: dict[str, Any]) -> dict[str, Any]:
    """Of what is in the ConfigStore."""
    return {name: each for name, each in options.items() if name == "hydra" or name.startswith("_")}


def compose(overrides: list[str], name: str = "train", folder: Path = CONFIGS) -> DictConfig:
    """The composed configuration of a command, for what runs without Hydra's main: help, tests, benchmarks."""
    register()
    with hydra.initialize_config_dir(str(folder.resolve()), version_base="1.3"):
        return hydra.compose(name, overrides)


def typed(overrides: list[str]) -> Config:
    """The typed configuration that `bnn-train OVERRIDES` would run with."""
    config = OmegaConf.to_object(compose(overrides))
    assert isinstance(config, Config)
    return config


def checked(arguments: list[str]) -> tuple[Config, DictConfig]:
    """The typed configuration, and the composed one with Hydra's own part. Every mistake is a ConfigError."""
    try:
        register()
        with hydra.initialize_config_dir(str(CONFIGS.resolve()), version_base="1.3"):
            composed = hydra.compose("train", arguments, return_hydra_config=True)
        config = hydra_errors.typed(composed, arguments=arguments)
        with open_dict(composed.hydra):  # while its resolvers are there
            composed.hydra.run.dir, composed.hydra.output_subdir = composed.hydra.run.dir, composed.hydra.output_subdir
    except ConfigError:
        raise
    except Exception as error:
        if not hydra_errors.is_of_the_configuration(error):
            raise
        raise _mistake(hydra_errors.one_line(error, Config, arguments)) from None  # Hydra's own steps help nobody
    assert isinstance(config, Config)
    return config, composed


def _mistake(line: str) -> ConfigError:
    """What Hydra has found, `key=value: remedy` in most cases, as an exception that reads the same."""
    place, _, remedy = line.partition(": ")
    key, _, value = place.partition("=")
    found = ConfigError(key, value, remedy)
    return found if str(found) == line else ConfigError("", "", line)


def print_version() -> None:
    terminal.write(f"bnn-train {version('bnn-train')}\n")
