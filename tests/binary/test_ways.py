"""The written rule of which way a product goes."""

import pytest
import torch

from bnn_train.binary import ways


@pytest.mark.parametrize(
    ("kept_to", "is_fast"), [(None, True), ("AVX512_CORE_VNNI", True), ("AVX512_CORE", False), ("avx2", False), ("SSE41", False)]
)
def test_int8_is_not_called_fast_where_its_library_is_kept_to_less_than_vnni(kept_to, is_fast, monkeypatch):
    """On a processor that has VNNI, which is all that torch looks at."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    if kept_to is None:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", kept_to)
    assert ways.int8_is_fast.__wrapped__("cpu") is is_fast
