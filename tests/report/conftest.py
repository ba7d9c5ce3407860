import pytest


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    """columns(60) sets the width; 80 until then, wherever the tests are run."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda count: monkeypatch.setenv("COLUMNS", str(count))
