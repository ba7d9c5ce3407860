import numpy as np
import pytest
import torch

from bnn_train.edges import selectors
from bnn_train.errors import ConfigError

W = torch.tensor([[0.1, -0.5, 0.3, 0.0], [-0.9, 0.2, -0.3, 0.4]])


def chosen(name, weight=W, layer="linear1", **options):
    return selectors.SELECTORS[name](weight, layer, **options).int().tolist()


def test_every_selector_against_a_mask_by_hand():
    assert chosen("all") == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert chosen("rows", index=[1]) == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert chosen("columns", index=[0, 3]) == [[1, 0, 0, 1], [1, 0, 0, 1]]
    assert chosen("magnitude", density=0.375) == [[0, 1, 0, 0], [1, 0, 0, 1]]
    assert chosen("magnitude", density=0.375, largest=False) == [[1, 0, 0, 1], [0, 1, 0, 0]]
    assert chosen("magnitude", density=0.625) == [[0, 1, 1, 0], [1, 0, 1, 1]]  # of the equals -0.3 and 0.3 both
    assert chosen("magnitude", density=0.5) == [[0, 1, 1, 0], [1, 0, 0, 1]]  # and of them the first
    assert chosen("n_m", n=1, m=2) == [[0, 1, 1, 0], [1, 0, 0, 1]]
    assert chosen("n_m", n=2, m=4) == [[0, 1, 1, 0], [1, 0, 0, 1]]
    assert chosen("n_m", n=2, m=2) == chosen("all")


def test_random_has_the_exact_number_and_follows_from_seed_and_layer():
    weight = torch.zeros(40, 50)
    masks = [selectors.random(weight, name, density=0.3, seed=seed) for name, seed in (("a", 0), ("a", 0), ("a", 1), ("b", 0))]
    assert [int(mask.sum()) for mask in masks] == [600] * 4
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])
    assert 200 < int(masks[0][:20].sum()) < 400  # all over the weight
    assert not selectors.random(weight, "a", density=0.0).any()
    assert selectors.random(weight, "a", density=1.0).all()


def test_random_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    selectors.random(W, "a", density=0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_block_chooses_whole_blocks_cut_at_the_ends():
    mask = selectors.block(torch.zeros(5, 7), "a", size=[2, 3], density=0.5, seed=3)
    grid = selectors.random(torch.zeros(3, 3), "a", density=0.5, seed=3)
    for i in range(5):
        for j in range(7):
            assert mask[i, j] == grid[i // 2, j // 3]


def test_rows_columns_and_groups_of_a_convolution():
    weight = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    assert selectors.rows(weight, "conv1", index=[0]).flatten(1).int().tolist() == [[1] * 12, [0] * 12]
    assert selectors.columns(weight, "conv1", index=[2]).flatten(1).int().tolist() == [[0] * 8 + [1] * 4] * 2
    assert selectors.n_m(weight, "conv1", n=1, m=4).flatten(1).int().tolist() == [[0, 0, 0, 1] * 3] * 2
    assert selectors.block(weight, "conv1", size=[1, 12], density=0.5).flatten(1).sum(1).tolist() in ([12, 0], [0, 12])


HAND = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]])
GOOD = {
    "bool": HAND.bool(),
    "int": HAND,
    "float": HAND.float(),
    "uint8": HAND.to(torch.uint8),
    "sparse": HAND.float().to_sparse_coo(),
    "sparse bool": HAND.bool().to_sparse_coo(),
    "dict": {"linear1": HAND, "linear2": HAND.T},
}


@pytest.mark.parametrize("kind", GOOD)
def test_masks_from_a_pt_file(tmp_path, kind):
    torch.save(GOOD[kind], tmp_path / "mask.pt")
    assert chosen("file", file=str(tmp_path / "mask.pt")) == HAND.tolist()


def test_masks_from_a_npy_file(tmp_path):
    np.save(tmp_path / "mask.npy", HAND.bool().numpy())
    assert chosen("file", file=str(tmp_path / "mask.npy")) == HAND.tolist()


class Malicious:
    def __reduce__(self):
        return print, ("this must never be printed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(4, 2), "holds a mask of shape 4x2, but linear1 has 2x4"),
        (torch.full((2, 4), 2), "must hold booleans, or 0 and 1 alone (torch.int64 here)"),
        (torch.full((2, 4), 0.5), "must hold booleans, or 0 and 1 alone (torch.float32 here)"),
        (torch.full((2, 4), float("nan")), "must hold booleans, or 0 and 1 alone"),
        (torch.ones(2, 4, dtype=torch.complex64), "must hold booleans, or 0 and 1 alone (torch.complex64 here)"),
        ({"linear2": HAND}, "holds no mask for linear1; it holds linear2"),
        ({"linear1": [1, 0]}, "holds a list where a tensor should be"),
        ([HAND], "holds a list where a tensor should be"),
        (Malicious(), "cannot be read as a mask: it is cut short, damaged or foreign"),
    ],
)
def test_bad_files_are_refused_and_run_nothing(tmp_path, capsys, content, message):
    path = tmp_path / "mask.pt"
    torch.save(content, path)
    with pytest.raises(ConfigError) as caught:
        chosen("file", file=str(path))
    assert str(caught.value).startswith(f"edges.rules.file={path}: {message}")
    assert capsys.readouterr().out == ""


def test_missing_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "mask.pt"
    with pytest.raises(ConfigError, match="there is no such file"):
        chosen("file", file=str(path))
    torch.save(HAND, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="cannot be read as a mask"):
        chosen("file", file=str(path))
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot be read as a mask"):
        chosen("file", file=str(tmp_path / "object.npy"))
    (tmp_path / "mask.txt").write_text("1 0")
    with pytest.raises(ConfigError, match=r"must be a \.pt or \.npy file"):
        chosen("file", file=str(tmp_path / "mask.txt"))


def test_bad_options():
    with pytest.raises(ConfigError, match=r"edges\.rules\.index=\[2\]: linear1 has rows 0 to 1"):
        chosen("rows", index=[2])
    with pytest.raises(ConfigError, match=r"edges\.rules\.index=\[0,-1\]: linear1 has columns 0 to 3"):
        chosen("columns", index=[0, -1])
    with pytest.raises(ConfigError, match=r"edges\.rules\.n=3: must be at most m=2"):
        chosen("n_m", n=3, m=2)
    with pytest.raises(ConfigError, match=r"edges\.rules\.m=3: must divide the 4 inputs of an output of linear1"):
        chosen("n_m", n=1, m=3)
