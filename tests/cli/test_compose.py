import argparse

import pytest
from hydra._internal.utils import get_args_parser

from bnn_train.cli import compose


def add_argument(self, *names, _add=argparse._ActionsContainer.add_argument, **options):
    """As Python 3.14 has it: each help text is formatted when an argument is added."""
    action = _add(self, *names, **options)
    if hasattr(self, "_check_help"):
        self._check_help(action)
    return action


def check_help(self, action):
    if action.help and action.help is not argparse.SUPPRESS:
        self._get_formatter()._expand_help(action)


def test_hydras_help_is_no_error_on_python_3_14(monkeypatch):
    """Hydra 1.3's help of its completion is an object, and no text."""
    monkeypatch.setattr(argparse._ActionsContainer, "add_argument", add_argument)
    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check_help, raising=False)
    compose._let_hydra_help((3, 13, 9))
    with pytest.raises(TypeError):
        get_args_parser()
    compose._let_hydra_help((3, 14, 0))
    assert get_args_parser().parse_args(["ste=tanh"]).overrides == ["ste=tanh"]
