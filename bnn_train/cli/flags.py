"""The commands with flags of their own: mistakes in one line, and in the terms of what can be typed there."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from bnn_train.cli.help_text import HelpText
from bnn_train.errors import ConfigError
from bnn_train.report import terminal


class Flags(argparse.ArgumentParser):
    """A parser whose complaint is one line. own: {key of the configuration: the flag that stands for it}."""

    def __init__(self, own: dict[str, str] | None = None, **options: str) -> None:
        super().__init__(**options, allow_abbrev=False, formatter_class=HelpText)  # type: ignore[arg-type]
        self.own = own or {}

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (([\w.]+)=(\S+))", message)
        if unknown:
            flag = self.own.get(unknown[2])
            message = f"{unknown[1]}: {f'type {flag}={unknown[3]}' if flag else 'is no flag'}"
        terminal.say(f"error: {message.removeprefix('argument ')}; {self.prog} --help lists the flags", "stderr")
        self.exit(2)

    @contextmanager
    def own_terms(self) -> Iterator[None]:
        """Gives a ConfigError, and what its remedy names, the flags of this command for the keys that they stand for."""
        try:
            yield
        except ConfigError as error:
            remedy = re.sub(r"\bplugins=\[(.*?)\]", r"plugins=\1", error.remedy)
            for key, flag in self.own.items():
                remedy = re.sub(rf"(?<![\w.-]){re.escape(key)}=", f"{flag}=", remedy)
            raise ConfigError(self.own.get(error.key, error.key), error.value, remedy) from error
