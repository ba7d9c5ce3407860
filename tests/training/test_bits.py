import numpy as np
import pytest

from bnn_train.training import bits

PARTS = [(1,), (3, 5), (64,), (2, 4, 9), (65,), (300_000,)]  # the last is longer than a chunk


@pytest.fixture
def parts():
    generator = np.random.default_rng(0)
    return [generator.random(shape) < 0.3 for shape in PARTS]


@pytest.mark.parametrize("numpy", [1, 2])
def test_what_is_packed_is_counted_part_by_part(parts, monkeypatch, numpy):
    if numpy == 1:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    starts = bits.starts([part.size for part in parts])
    assert starts == [0, 1, 2, 3, 5, 7, 4695]
    assert bits.ones(bits.pack(parts), starts) == [part.sum() for part in parts]
    assert bits.ones(bits.pack([]), bits.starts([])) == []


def test_bits_keep_their_order_and_nothing_is_set_behind_a_part(parts):
    packed = bits.pack(parts).view(np.uint8)
    first = np.unpackbits(packed)[64 : 2 * 64]  # of the second part, which begins a new word
    assert first[:15].tolist() == parts[1].flatten().tolist()
    assert not first[15:].any()
    assert np.array_equal(bits.pack([part * 2.0 - 1 for part in parts], lambda part: part > 0), bits.pack(parts))
