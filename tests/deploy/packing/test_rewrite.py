"""What the rewrites leave of a network: closed forms of small ones."""

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import Sign
from bnn_train.deploy.packed import unpacked_bits
from bnn_train.deploy.packing.graph import Node, consumers, in_order, kind_of, replace
from bnn_train.deploy.packing.rewrite import range_of, set_signs, signs_of
from bnn_train.models.around import Shift

SHAPE = (1, 4, 4)


def kinds(packed):
    return [op.kind for op in packed.ops]


def test_batch_norm_and_sign_become_one_threshold_and_constants_an_offset(packed_of):
    """BatchNorm is gamma (s - 3) / 2 + 1: with gamma 1 its sign is s >= 1, with gamma -1 it is s <= 5; with gamma 0 it is +1."""
    norm = nn.BatchNorm1d(4, eps=0)
    norm.running_mean.fill_(3)
    norm.running_var.fill_(4)
    norm.weight.data = torch.tensor([1.0, -1.0, 0.0, 0.0])
    norm.bias.data = torch.tensor([1.0, 1.0, 1.0, -1.0])
    head = BinaryLinear(4, 2)
    head.weight.data = torch.tensor([[1.0, 1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    packed = packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(16, 4), norm, head), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear", "sign", "linear"]
    sign, last = packed.ops[4], packed.ops[5]
    assert sign.tensors["threshold"].tolist() == [1, 6]
    assert sign.tensors["threshold"].dtype == np.int16
    assert unpacked_bits(sign.tensors["flip"], 2).tolist() == [[0, 1]]
    assert last.tensors["offset"].tolist() == [2, 0]


def test_a_first_layer_sums_pixels_themselves(packed_of):
    """sum w (u / 255 - 1/2) / (1/4) >= 0 with weights +1 twice is u1 + u2 >= 255."""
    layer = BinaryLinear(2, 1, estimator=None)
    layer.weight.data.fill_(1)
    packed = packed_of(nn.Sequential(nn.Flatten(), layer, BinaryLinear(1, 2)), (1, 1, 2), [0.5], [0.25])
    assert kinds(packed) == ["flatten", "linear", "sign", "linear"]
    assert packed.ops[2].tensors["threshold"].tolist() == [255]


def test_a_head_takes_the_scale_and_the_shift_before_it(packed_of):
    norm = nn.BatchNorm1d(3, eps=0, affine=False)
    norm.running_mean[:] = torch.tensor([1.0, 2.0, -3.0])
    norm.running_var[:] = torch.tensor([4.0, 0.25, 1.0])
    head = nn.Linear(3, 2)
    head.weight.data = torch.tensor([[1.0, 2.0, 4.0], [-1.0, 0.5, 0.0]])
    head.bias.data = torch.tensor([0.5, -1.0])
    packed = packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(16, 3), norm, head), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear", "linear"]
    assert packed.ops[-1].tensors["weight"].tolist() == [[0.5, 4, 4], [-0.5, 1, 0]]
    assert packed.ops[-1].tensors["bias"].tolist() == [0.5 - 0.5 - 8 + 12, -1 + 0.5 - 2]


def test_numbers_that_something_else_takes_are_left(packed_of):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = BinaryLinear(16, 4), nn.BatchNorm1d(4)
            self.next, self.head = BinaryLinear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            y = self.norm(self.first(x.flatten(1)))
            return self.head(y + self.next(y))

    packed = packed_of(Shared(), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear", "affine", "sign", "linear", "add", "linear"]


def test_layers_that_read_the_same_input_share_its_sign(packed_of):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = BinaryLinear(16, 4), BinaryLinear(16, 4)

        def forward(self, x):
            x = x.flatten(1)
            return self.a(x) + self.b(x)

    assert kinds(packed_of(Two(), SHAPE)) == ["normalise", "sign", "flatten", "linear", "linear", "add"]


def test_a_sign_of_signs_is_one_sign(packed_of):
    packed = packed_of(nn.Sequential(nn.Flatten(), Ste(), Ste(), BinaryLinear(16, 2)), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear"]


def test_signs_come_before_pools_and_norms_before_signs(packed_of):
    layers = [BinaryConv2d(1, 4, 1), nn.BatchNorm2d(4), nn.MaxPool2d(2), BinaryConv2d(4, 2, 1), nn.Flatten()]
    assert kinds(packed_of(nn.Sequential(*layers), SHAPE)) == [
        "normalise",
        "sign",
        "conv2d",
        "sign",
        "max_pool",
        "conv2d",
        "flatten",
    ]


def test_a_function_that_turns_stays_and_its_sign_comes_behind_it(packed_of):
    turning = nn.PReLU(4)
    turning.weight.data.fill_(-1)
    shift = nn.BatchNorm1d(4, affine=False)
    shift.running_mean.fill_(2.5)
    packed = packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(16, 4), turning, shift, BinaryLinear(4, 2)), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear", "prelu", "sign", "linear"]
    assert packed.ops[-2].tensors["threshold"] == pytest.approx([2.5] * 4)


def test_what_stands_between_a_sum_and_its_sign_in_any_block_leaves_a_threshold_alone(packed_of):
    """XNOR-Net's ReLU, pool and BatchNorm; ReCU's hardtanh; ReActNet's two shifts around a PReLU, and its sign's."""
    blocks = {
        "xnor": [nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4)],
        "recu": [nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Hardtanh()],
        "reactnet": [nn.MaxPool2d(2), nn.BatchNorm2d(4), Shift(4, True), nn.PReLU(4), Shift(4, True), Shift(4, True)],
    }
    for between in blocks.values():
        model = nn.Sequential(BinaryConv2d(1, 4, 1), *between, BinaryConv2d(4, 2, 1), nn.Flatten())
        assert kinds(packed_of(model, SHAPE)) == ["normalise", "sign", "conv2d", "max_pool", "sign", "conv2d", "flatten"]


@pytest.mark.parametrize("scaling", ["none", "mean"])
def test_a_scale_of_power_or_mean_before_a_sign_leaves_nothing(packed_of, scaling):
    layers = [nn.Flatten(), BinaryLinear(16, 4, Sign(scaling=scaling)), BinaryLinear(4, 2)]
    packed = packed_of(nn.Sequential(*layers), SHAPE)
    assert kinds(packed) == ["normalise", "sign", "flatten", "linear", "sign", "linear"]
    assert packed.ops[4].tensors["threshold"].tolist() == [0] * 4


BYTES = Node("flatten", "flatten", [Node("image", "image", [], (1, 1, 3))], (3,))
BITS = Node("sign", "sign", [Node("normalise", "normalise", [BYTES], (3,))], (3,))


def linear(x, signs):
    node = Node("linear", "linear", [x], (len(signs),), {"outputs": len(signs)})
    set_signs(node, np.asarray(signs))
    return node


def ends(node):
    return [end.tolist() for end in range_of(node)]


def test_the_smallest_and_the_largest_sums():
    signs = [[1, -1, 0], [1, 1, 1], [0, 0, 0]]
    assert ends(linear(BITS, signs)) == [[-2, -3, 0], [2, 3, 0]]
    of_pixels = linear(BYTES, signs)
    assert ends(of_pixels) == [[-255, 0, 0], [255, 765, 0]]
    of_pixels.tensors["offset"] = np.array([5, -5, 1], np.int32)
    assert ends(of_pixels) == [[-250, -5, 1], [260, 760, 1]]
    image = Node("conv2d", "conv", [], (2, 1, 2))
    image.inputs = [Node("sign", "sign", [], (1, 1, 2))]
    image.settings = {"kernel": [1, 1], "groups": 1, "outputs": 2}
    set_signs(image, np.array([[1], [0]]))
    assert ends(Node("flatten", "f", [image], (4,))) == [[-1, -1, 0, 0], [1, 1, 0, 0]]
    assert ends(Node("pad", "p", [image], (2, 3, 4))) == [[-1, -1], [1, 1]]
    assert ends(Node("max_pool", "m", [image], (2, 1, 1))) == [[-1, 0], [1, 0]]
    both = Node("concatenate", "c", [linear(BITS, signs), linear(BITS, signs[:1])], (4,))
    assert ends(both) == [[-2, -3, 0, -2], [2, 3, 0, 2]]
    assert ends(Node("slice", "s", [both], (2,), {"start": 1, "stop": 3})) == [[-3, 0], [3, 0]]


def test_signs_go_in_and_out_with_and_without_a_mask():
    full, pruned = np.array([[1, -1, 1], [-1, -1, -1]]), np.array([[1, 0, -1], [0, 0, 0]])
    node = linear(BITS, full)
    assert set(node.tensors) == {"weight"}
    set_signs(node, pruned)
    assert np.array_equal(signs_of(node), pruned)
    set_signs(node, full)
    assert set(node.tensors) == {"weight"}
    assert np.array_equal(signs_of(node), full)


def test_kinds_of_values():
    whole = linear(BITS, [[1, 1, 1]])
    assert kind_of(BYTES) == "bytes"
    assert kind_of(BITS) == "bits"
    assert kind_of(whole) == "whole"
    assert kind_of(linear(whole, [[1]])) == "real"
    assert kind_of(Node("concatenate", "c", [whole, whole], (2,))) == "whole"
    assert kind_of(Node("concatenate", "c", [whole, BITS], (4,))) == "real"
    assert kind_of(Node("add", "a", [BITS, BITS], (3,))) == "real"


def test_the_order_of_a_graph_has_inputs_first_and_each_node_once():
    a = linear(BITS, [[1, 1, 1]])
    total = Node("add", "add", [a, a], (1,))
    order = in_order(total)
    assert len(order) == len(set(order)) == 6
    assert all(order.index(x) < order.index(node) for node in order for x in node.inputs)
    assert consumers(total)[a] == [total, total]
    b = linear(BITS, [[-1, 1, 1]])
    assert replace(total, a, b) is total
    assert total.inputs == [b, b]
    assert replace(total, total, b) is b
