"""Processors with less than this one has."""

import pytest

from bnn_train.kernels import compiler


@pytest.fixture
def small_processor(request, monkeypatch):
    needed = {"x86-64-v2": "sse4.2", "x86-64-v3": "avx2", "x86-64-v4": "avx512bw", "alderlake": "avxvnni"}[request.param]
    if needed not in compiler.features(None)[2]:
        pytest.skip(f"a processor without {needed}")
    monkeypatch.setattr(compiler, "CPU", request.param)
