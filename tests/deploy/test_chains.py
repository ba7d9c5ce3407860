"""Which operations one kernel takes together."""

import numpy as np

from bnn_train.deploy.chains import Chain, chains
from bnn_train.deploy.infer import result_of
from bnn_train.deploy.packed import Op, Packed, Value, packed_bits

PAIRS = {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
POOL = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "ceil": False}


class Net:
    """8 channels of 4 x 4 pixels; each method gives the number of the value it makes."""

    def __init__(self):
        self.ops = []

    def add(self, kind, *inputs, settings=None, **tensors):
        self.ops.append(Op(kind, kind, inputs, settings or {}, tensors))
        return len(self.ops)

    def normalise(self, x=0):
        return self.add("normalise", x, table=np.zeros((8, 256), np.float32))

    def convolution(self, x, real=False, groups=1):
        weight = np.ones((8, 72 // groups), np.float32) if real else packed_bits(np.ones((8, 72 // groups)))
        settings = {"outputs": 8, "groups": groups, "pad_value": 0, **PAIRS}
        return self.add("conv2d", x, settings=settings, weight=weight)

    def affine(self, x):
        return self.add("affine", x, scale=np.ones(8, np.float32), shift=np.ones(8, np.float32))

    def sign(self, x, of=np.float32):
        return self.add("sign", x, threshold=np.zeros(8, of))

    def pool(self, x):
        return self.add("max_pool", x, settings=POOL)

    def both(self, x, y):
        return self.add("add", x, y)

    def chains(self):
        """Tuples: operations, counted from 0, and whether numbers are kept."""
        known = [Value("bytes", (8, 4, 4))]
        for op in self.ops:
            known.append(result_of(op, known))
        takers = [[i for i, op in enumerate(self.ops) for x in op.inputs if x == value] for value in range(len(known))]
        return [(chain.ops, chain.keeps_numbers) for chain in chains(Packed((8, 4, 4), tuple(self.ops)), known, takers)]


def test_a_first_layer_goes_from_the_pixels_to_the_signs():
    net = Net()
    net.sign(net.convolution(net.normalise()))
    assert net.chains() == [((0, 1, 2), False)]


def test_pixels_that_something_else_takes_too_stay():
    net = Net()
    pixels = net.normalise()
    net.convolution(pixels)
    net.sign(pixels)
    assert net.chains() == [((1,), True)]


def test_sums_of_signs_end_with_a_pool_and_signs():
    net = Net()
    net.sign(net.pool(net.convolution(net.sign(net.normalise()))), np.int16)
    assert net.chains() == [((2, 3, 4), False)]


def test_sums_that_are_taken_twice_are_kept_without_their_signs():
    net = Net()
    sums = net.convolution(net.sign(net.normalise()))
    net.sign(sums, np.int16)
    net.affine(sums)
    assert net.chains() == [((2,), True)]


def test_a_block_with_a_shortcut_gives_its_numbers_and_their_signs():
    net = Net()
    shortcut = net.normalise()
    total = net.both(net.affine(net.convolution(net.sign(shortcut))), shortcut)
    net.sign(total)
    net.pool(total)
    assert net.chains() == [((2, 3, 4, 5), True)]


def test_functions_gate_and_shortcut_of_a_block_belong_to_it():
    net = Net()
    shortcut = net.normalise()
    gate = net.add("avg_pool", shortcut, settings={**POOL, "kernel": [4, 4], "count_padding": False})
    sums = net.affine(net.convolution(net.sign(shortcut)))
    total = net.both(net.add("multiply", sums, gate), shortcut)
    last = net.affine(net.add("prelu", net.add("clamp", total, limits=np.ones(2, np.float32)), slope=np.ones(8, np.float32)))
    net.sign(last)
    net.pool(last)
    assert net.chains() == [((3, 4, 5, 6, 7, 8, 9, 10), True)]


def test_a_gate_for_each_place_is_left_alone():
    net = Net()
    pixels = net.normalise()
    net.add("multiply", net.convolution(net.sign(pixels)), pixels)
    assert net.chains() == [((2,), True)]


def test_an_addition_belongs_to_one_of_two_convolutions():
    net = Net()
    pixels = net.normalise()
    signs = net.sign(pixels)
    total = net.both(net.affine(net.convolution(signs)), net.affine(net.convolution(pixels, real=True)))
    net.sign(total)
    assert net.chains() == [((2, 3, 6, 7), False), ((4, 5), True)]


def test_groups_and_real_weights_on_signs_are_left_alone():
    net = Net()
    signs = net.sign(net.normalise())
    net.convolution(signs, groups=2)
    net.convolution(signs, real=True)
    assert net.chains() == []


def test_what_is_added_to_itself_or_has_another_shape_is_no_shortcut():
    net = Net()
    pixels = net.normalise()
    doubled = net.convolution(net.sign(pixels))
    net.both(doubled, doubled)
    wide = net.convolution(net.sign(pixels))
    column = net.add("avg_pool", pixels, settings={**POOL, "kernel": [4, 4], "count_padding": False})
    net.both(wide, column)
    assert [ops for ops, _ in net.chains()] == [(2,), (5,)]


def test_outputs_are_numbers_then_bits():
    assert Chain(None, 2, 3, 4, None, 5, keeps_numbers=True).outputs == (5, 6)
    assert Chain(None, 2, None, None, 3, 4, keeps_numbers=False).outputs == (5,)
    assert Chain(0, 1, None, None, None, None, keeps_numbers=True).outputs == (2,)
    assert Chain(0, 1, None, None, None, 5, keeps_numbers=True, multiply=2, each=(3, 4)).outputs == (5, 6)
