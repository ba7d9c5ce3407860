"""Small networks with every operation, and the fuzzer that they belong to."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"


@pytest.fixture(scope="session")
def fuzzer():
    """scripts/fuzz_format.py."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("fuzz_format")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def networks(fuzzer):
    """Three packed networks: layers on bits; convolutions of each kind; everything else."""
    return fuzzer.small_networks()
