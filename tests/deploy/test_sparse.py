"""Pruned layers in a file: every edge comes back, in as few bytes as there are edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.deploy.packed import Unfit, packed_bits, unpacked_bits
from bnn_train.deploy.sparse import as_stored, as_used


def rows(signs):
    """{"weight", "mask"} of -1, 0 and +1."""
    return {"weight": packed_bits(signs), "mask": packed_bits(np.abs(signs))}


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 700), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_every_edge_comes_back(outputs, inputs, density, seed):
    random = np.random.default_rng(seed)
    signs = random.choice([-1, 1], (outputs, inputs)) * (random.random((outputs, inputs)) < density)
    dense = rows(signs)
    stored = as_stored(dense["weight"], dense["mask"], inputs)
    assert stored["signs"].size == -(-np.count_nonzero(signs) // 8)
    assert stored.get("mask", stored.get("gaps")).size <= dense["mask"].size
    again = as_used(stored, outputs, inputs)
    assert set(again) == set(dense)
    for name, array in dense.items():
        np.testing.assert_array_equal(again[name], array, strict=True)


def test_gaps_count_what_is_pruned_through_the_ends_of_rows():
    signs = np.zeros((3, 300), int)
    signs[0, [0, 2]] = 1, -1
    signs[2, 0] = 1  # 297 pruned in the first row, 300 in the second
    stored = as_stored(**rows(signs), inputs=300)
    assert stored["gaps"].tolist() == [0, 1, 255, 255, 87]
    assert stored["signs"].tolist() == [0b10100000]


@pytest.mark.parametrize(("distance", "gaps"), [(254, [254]), (255, [255, 0]), (256, [255, 1]), (510, [255, 255, 0])])
def test_a_gap_of_255_and_more_takes_another_byte(distance, gaps):
    signs = np.zeros((1, 4000), int)
    signs[0, distance] = -1
    assert as_stored(**rows(signs), inputs=4000)["gaps"].tolist() == gaps


def test_a_tenth_of_the_edges_takes_less_than_a_bit_a_weight():
    random = np.random.default_rng(0)
    signs = random.choice([-1, 1], (512, 512)) * (random.random((512, 512)) < 0.1)
    assert 8 * sum(array.size for array in as_stored(**rows(signs), inputs=512).values()) < 0.92 * signs.size


SIGNS = np.array([0b10100000], np.uint8)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ({"gaps": np.array([0, 1, 255], np.uint8)}, "an edge behind the last"),
        ({"gaps": np.array([0, 8, 0], np.uint8)}, "an edge behind the last"),
        ({"gaps": np.array([[0, 1, 2]], np.uint8)}, "in one row"),
        ({"gaps": np.array([0, 1], np.int16)}, "must be uint8"),
        ({"gaps": np.arange(9, dtype=np.uint8) * 0}, "has 8 signs for 9 edges"),
        ({"gaps": np.array([0, 1], np.uint8)}, "has 8 signs for 2 edges"),  # a third sign without an edge
        ({"mask": np.array([[0xFF]], np.uint8)}, "mask must be"),
        ({"mask": np.array([[0xE0], [0]], np.int16)}, "mask must be"),
        ({"signs": SIGNS.astype(np.int32), "mask": np.array([[0xE0], [0]], np.uint8)}, "signs must be"),
        ({"signs": np.array([0xA0, 0], np.uint8), "mask": np.array([[0xE0], [0]], np.uint8)}, "has 16 signs for 3 edges"),
    ],
)
def test_what_contradicts_itself_is_refused(stored, why):
    outputs, inputs = (1, 9) if "gaps" in stored else (2, 8)
    with pytest.raises(Unfit, match=why):
        as_used({"signs": SIGNS, **stored}, outputs, inputs)


def test_a_mask_comes_back_unpacked_alike():
    used = as_used({"signs": SIGNS, "mask": np.array([[0xC0], [0x01]], np.uint8)}, 2, 8)
    assert unpacked_bits(used["weight"], 8).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]
