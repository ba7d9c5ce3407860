import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnn_train.edges.held import Held, packed, unpacked

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def bits(tensor):
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_zero_and_restore_to_the_last_bit_whatever_stands_there(dtype, share):
    torch.manual_seed(0)
    weight, mask = torch.randn(30, 40).to(dtype), torch.rand(30, 40) < share
    weight[0, 0], mask[0, 0] = -0.0, True
    held, start = Held(weight, mask), weight.clone()
    assert held.is_sparse is (share < 0.1)
    assert held.largest == weight[mask].abs().max().item()
    for junk in (1.5, float("nan"), float("inf"), -0.0):
        gradient = torch.full_like(weight, junk)
        held.zero(gradient)
        assert (bits(gradient)[mask] == 0).all()
        assert (bits(gradient) == bits(torch.full_like(weight, junk)))[~mask].all()
        moved = torch.full_like(weight, junk)
        held.restore(moved)
        assert torch.equal(bits(moved)[mask], bits(start)[mask])
        assert (bits(moved) == bits(torch.full_like(weight, junk)))[~mask].all()


def test_gradients_of_any_layout():
    weight, mask = torch.randn(6, 8), torch.zeros(6, 8, dtype=torch.bool)
    mask[1] = True
    gradient = torch.ones(8, 6).T
    Held(weight, mask).zero(gradient)
    assert torch.equal(gradient == 0, mask)


@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 5))
def test_packing_is_exact_and_the_smaller_of_two(count, density, seed):
    mask = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < density
    stored = packed(mask)
    assert torch.equal(unpacked(stored, mask), mask)
    assert stored.numel() * stored.element_size() <= count
    assert stored.dtype == (torch.int32 if 4 * int(mask.sum()) < count else torch.bool)
