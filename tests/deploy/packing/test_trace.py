"""Networks that a user writes: followed line by line, or refused in one line that names the layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.errors import ConfigError

SHAPE = (2, 6, 7)  # of the images here


class Net(nn.Module):
    """A forward given as a function of (self, x), with its layers as attributes."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def head(channels, places=SHAPE[1] * SHAPE[2]):
    return nn.Linear(channels * places, 4)


def conv(n_in, n_out, kernel=3, padding=1, **options):
    return BinaryConv2d(n_in, n_out, kernel, padding=padding, **options)


def first(n_out=8):
    return BinaryConv2d(2, n_out, 3, estimator=None, padding=1)


WRITTEN = {
    "views": lambda: Net(
        lambda n, x: n.head(n.norm(n.first(x)).view(x.size(0), -1)), first=first(), norm=nn.BatchNorm2d(8), head=head(8)
    ),
    "reshape by shape": lambda: Net(lambda n, x: n.head(n.first(x).reshape(x.shape[0], -1)), first=first(), head=head(8)),
    "torch.flatten": lambda: Net(lambda n, x: n.head(torch.flatten(n.first(x), 1)), first=first(), head=head(8)),
    "flatten method": lambda: Net(lambda n, x: n.head(n.first(x).flatten(1)), first=first(), head=head(8)),
    "mean": lambda: Net(lambda n, x: n.head(n.first(x).mean(dim=(2, 3))), first=first(), head=head(8, 1)),
    "mean of the last": lambda: Net(lambda n, x: n.head(torch.mean(n.first(x), [-1, -2])), first=first(), head=head(8, 1)),
    "mean kept": lambda: Net(lambda n, x: n.head(n.first(x).mean((2, 3), keepdim=True).flatten(1)), first=first(), head=head(8, 1)),
    "squeezed": lambda: Net(
        lambda n, x: n.head(F.adaptive_avg_pool2d(n.first(x), 1).squeeze(-1).squeeze(-1)), first=first(), head=head(8, 1)
    ),
    "functional pools": lambda: Net(
        lambda n, x: n.head(
            F.avg_pool2d(F.relu(F.max_pool2d(n.first(x), kernel_size=2, stride=1)), 2, 2, 1, True, False).flatten(1)
        ),
        first=first(),
        head=head(8, 12),
    ),
    "positional ceil": lambda: Net(
        lambda n, x: n.head(F.max_pool2d(n.first(x), 2, 2, 0, 1, True).flatten(1)), first=first(), head=head(8, 12)
    ),
    "adaptive": lambda: Net(
        lambda n, x: n.head(F.adaptive_max_pool2d(n.first(x), (3, 1)).flatten(1)), first=first(), head=head(8, 3)
    ),
    "padded with a sign": lambda: Net(
        lambda n, x: n.head(n.conv(F.pad(n.first(x), (1, 2, 0, 1), value=-1.0)).flatten(1)),
        first=first(),
        conv=conv(8, 4, padding=0),
        head=head(4, 40),
    ),
    "bits padded with 0": lambda: Net(
        lambda n, x: n.head(n.conv(F.pad(n.sign(n.first(x)), (1, 1, 1, 1))).flatten(1)),
        first=first(),
        sign=Ste(),
        conv=conv(8, 4, padding=0, estimator=None),
        head=head(4),
    ),
    "a sign of bits padded with 0": lambda: Net(
        lambda n, x: n.head(n.conv(n.pad(n.sign(n.first(x)))).flatten(1)),
        first=first(),
        sign=Ste(),
        pad=nn.ZeroPad2d(1),
        conv=conv(8, 4, padding=0),
        head=head(4),
    ),
    "bits padded with 1": lambda: Net(
        lambda n, x: n.head(n.conv(n.pad(n.sign(n.first(x)))).flatten(1)),
        first=first(5),
        sign=Ste(),
        pad=nn.ConstantPad2d((1, 1, 2, 0), 1.0),
        conv=conv(5, 4, padding=0),
        head=head(4),
    ),
    "functional dropout": lambda: Net(
        lambda n, x: n.head(F.dropout(n.first(x), 0.5, n.training).flatten(1)), first=first(), head=head(8)
    ),
    "scalars": lambda: Net(lambda n, x: n.head((1 - 0.3 * n.first(x) / 7 + 0.1).flatten(1)), first=first(), head=head(8)),
    "negative": lambda: Net(
        lambda n, x: n.head(n.next(-n.first(x) - 0.5).flatten(1)), first=first(), next=conv(8, 4), head=head(4)
    ),
    "shared layer": lambda: Net(
        lambda n, x: n.head(n.conv(n.norm(n.conv(n.norm(n.first(x))))).flatten(1)),
        first=first(),
        norm=nn.BatchNorm2d(8),
        conv=conv(8, 8),
        head=head(8),
    ),
    "two readers": lambda: Net(
        lambda n, x: n.head((n.a(n.norm(n.first(x))) - n.b(n.norm(n.first(x)))).flatten(1)),
        first=first(),
        norm=nn.BatchNorm2d(8),
        a=conv(8, 5, pad_value=1),
        b=conv(8, 5),
        head=head(5),
    ),
    "concatenation of sums": lambda: Net(
        lambda n, x: n.head(n.next(n.norm(torch.cat([n.a(n.first(x)), n.b(n.first(x))], dim=1))).flatten(1)),
        first=first(5),
        a=conv(5, 3),
        b=conv(5, 6),
        norm=nn.BatchNorm2d(9),
        next=conv(9, 3),
        head=head(3),
    ),
    "concatenation of bits": lambda: Net(
        lambda n, x: n.head(n.next(torch.cat((n.sign(n.a(x)), n.sign(n.b(x))), 1)).flatten(1)),
        sign=Ste(),
        a=first(3),
        b=first(10),
        next=conv(13, 3, estimator=None),
        head=head(3),
    ),
    "concatenation of all kinds": lambda: Net(
        lambda n, x: n.head(n.next(torch.cat([x, n.sign(x), n.a(n.sign(x))], 1)).flatten(1)),
        sign=Ste(),
        a=conv(2, 3),
        next=conv(7, 3),
        head=head(3),
    ),
    "slices": lambda: Net(
        lambda n, x: n.head(n.a(n.first(x)[:, :3]).flatten(1)) + n.other(n.b(n.first(x)[:, 3:, ...]).flatten(1)[:, 1:-1]),
        first=first(),
        a=conv(3, 2),
        b=conv(5, 2),
        head=head(2),
        other=nn.Linear(82, 4),
    ),
    "gate": lambda: Net(
        lambda n, x: n.head(n.next(n.first(x) * torch.sigmoid(n.gate(F.adaptive_avg_pool2d(n.first(x), 1)))).flatten(1)),
        first=first(),
        gate=nn.Conv2d(8, 8, 1),
        next=conv(8, 3),
        head=head(3),
    ),
    "gate of linear layers": lambda: Net(
        lambda n, x: n.head((n.first(x) * n.gate(n.mean(n.first(x)).flatten(1))[:, :, None, None]).flatten(1)),
        first=first(),
        mean=nn.AdaptiveAvgPool2d(1),
        gate=nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3), nn.ReLU(), BinaryLinear(3, 8, bias=True), nn.Sigmoid()),
        head=head(8),
    ),
    "gates in all ways to write a pixel": lambda: Net(
        lambda n, x: n.head(
            n.first(x).mean((2, 3)).view(-1, 8, 1, 1).flatten(1) * 2
            + n.gate(n.first(x).mean((2, 3))).unsqueeze(-1).unsqueeze(-1).flatten(1)
            + n.gate(n.first(x).mean((2, 3)))[..., None, None].flatten(1)
        ),
        first=first(),
        gate=nn.Linear(8, 8),
        head=head(8, 1),
    ),
    "limits": lambda: Net(
        lambda n, x: n.head(
            n.tanh(n.first(x)).clamp(max=0.5).clip(-1.5, 2.0).flatten(1)
            + torch.clamp(F.hardtanh(n.first(x), -0.3, 3.0), min=0.1).flatten(1)
            + F.relu6(n.first(x)).flatten(1)
            + n.six(n.first(x)).clamp(0.7, -0.2).flatten(1)
        ),
        first=first(),
        tanh=nn.Hardtanh(),
        six=nn.ReLU6(),
        head=head(8),
    ),
    "limits before a sign": lambda: nn.Sequential(
        first(), nn.BatchNorm2d(8), nn.Hardtanh(-2, 0.5), nn.BatchNorm2d(8), conv(8, 4), nn.Flatten(), head(4)
    ),
    "shortcut of bits": lambda: Net(
        lambda n, x: n.head(n.next(n.sign(n.first(x)) + n.norm(n.conv(n.sign(n.first(x))))).flatten(1)),
        first=first(),
        sign=Ste(),
        conv=conv(8, 8, estimator=None),
        norm=nn.BatchNorm2d(8),
        next=conv(8, 3),
        head=head(3),
    ),
    "bits and bits": lambda: Net(
        lambda n, x: n.head(n.next(n.sign(n.a(x)) + n.sign(n.b(x))).flatten(1)),
        sign=Ste(),
        a=first(),
        b=first(),
        next=conv(8, 3),
        head=head(3),
    ),
    "nested": lambda: nn.Sequential(
        nn.Sequential(first(), nn.Sequential(nn.BatchNorm2d(8), nn.Identity())),
        nn.Sequential(nn.Dropout2d(0.5), conv(8, 3), nn.BatchNorm2d(3), nn.Flatten()),
        nn.Dropout(0.5),
        head(3),
    ),
    "features added to an image that was flattened": lambda: Net(
        lambda n, x: n.head(n.conv(n.norm(n.first(x))).flatten(1) + n.side(n.flat(x))),
        first=first(3),
        norm=nn.BatchNorm2d(3),
        conv=conv(3, 3),
        flat=nn.Flatten(),
        side=BinaryLinear(84, 126),
        head=nn.Linear(126, 4),
    ),
    "norm of what was flattened": lambda: Net(
        lambda n, x: n.head(n.prelu(n.norm(n.conv(n.first(x)).flatten(1)))),
        first=first(3),
        conv=conv(3, 3),
        norm=nn.BatchNorm1d(126),
        prelu=nn.PReLU(126),
        head=BinaryLinear(126, 4),
    ),
    "whole sums as scores": lambda: nn.Sequential(nn.Flatten(), BinaryLinear(84, 9), BinaryLinear(9, 4)),
    "gate of features": lambda: Net(
        lambda n, x: n.head(n.a(n.flat(x)) * n.gate(n.b(n.flat(x)))),
        flat=nn.Flatten(),
        a=BinaryLinear(84, 9),
        b=BinaryLinear(84, 9),
        gate=nn.Sigmoid(),
        head=BinaryLinear(9, 4),
    ),
    "in place where nothing else reads": lambda: nn.Sequential(first(), nn.ReLU(inplace=True), nn.Flatten(), head(8)),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_what_a_user_writes_is_followed(written, agree, random_statistics):
    torch.manual_seed(0)
    agree(random_statistics(written()), SHAPE, count=9, certain=False)


class Shifted(nn.Module):
    """RSign and RPReLU of ReActNet: shifts that are parameters, around a PReLU."""

    def __init__(self, channels):
        super().__init__()
        self.before, self.after = (nn.Parameter(torch.randn(1, channels, 1, 1)) for _ in range(2))
        self.prelu = nn.PReLU(channels)

    def forward(self, x):
        return self.prelu(x + self.before) - self.after


@pytest.mark.parametrize("slopes", [0.25, -0.5])
def test_learned_shifts_around_a_prelu_agree(agree, random_statistics, slopes):
    torch.manual_seed(1)
    layers = [first(), nn.BatchNorm2d(8), Shifted(8), conv(8, 8), nn.BatchNorm2d(8), Shifted(8), conv(8, 3), nn.Flatten(), head(3)]
    for layer in layers:
        if isinstance(layer, Shifted):
            layer.prelu.weight.data[::2] = slopes
    agree(random_statistics(nn.Sequential(*layers)), SHAPE, certain=False)


def test_a_list_of_modules_and_a_dictionary_agree(agree, random_statistics):
    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([first(), conv(8, 8), conv(8, 8)])
            self.ends = nn.ModuleDict({"flat": nn.Flatten(), "head": head(8)})

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                x = layer(x) if i == 0 else x + layer(x)
            return self.ends["head"](self.ends["flat"](x))

    torch.manual_seed(0)
    agree(random_statistics(Lists()), SHAPE, certain=False)


def test_a_subclass_of_a_layer_is_the_layer_unless_it_computes_something_else(agree, packed_of):
    class Named(BinaryLinear):
        pass

    class Other(BinaryLinear):
        def forward(self, x):
            return super().forward(x).abs()

    agree(nn.Sequential(nn.Flatten(), Named(84, 9), nn.Linear(9, 4)).eval(), SHAPE)
    with pytest.raises(ConfigError, match=r"1 \(Other\)"):
        packed_of(nn.Sequential(nn.Flatten(), Other(84, 9), nn.Linear(9, 4)), SHAPE)


def test_weights_made_of_others_are_taken_as_they_are(agree):
    """torch's own parametrizations: the layer's class is another, its forward the same."""
    torch.manual_seed(0)
    agree(flat(BinaryLinear(84, 9), torch.nn.utils.parametrizations.weight_norm(nn.Linear(9, 4))).eval(), SHAPE)


def test_hooks_of_a_part_are_followed(agree):
    torch.manual_seed(0)
    part = nn.Sequential(BinaryLinear(84, 9), nn.BatchNorm1d(9))
    part.register_forward_hook(lambda part, x, y: 2 * y + 1)
    agree(flat(part, nn.Linear(9, 4)).eval(), SHAPE)


def flat(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


def hooked():
    model = flat(BinaryLinear(84, 8), nn.Linear(8, 4))
    model[2].register_forward_hook(lambda layer, x, y: 2 * y)
    return model


def hooked_as_a_whole():
    model = flat(nn.Linear(84, 4))
    model.register_forward_pre_hook(lambda model, x: (2 * x[0],))
    return model


def two_inputs():
    class Two(nn.Module):
        def forward(self, x, other=None):
            return x.flatten(1)

    return Two()


REFUSED = {
    "branch on a value": (lambda: Net(lambda n, x: x.flatten(1) if x.sum() > 0 else -x.flatten(1)), ["network", "every image"]),
    "torch.sign": (lambda: Net(lambda n, x: n.head(torch.sign(x.flatten(1))), head=head(2)), ["sign", "Ste"]),
    "GELU": (lambda: flat(BinaryLinear(84, 8), nn.GELU(), nn.Linear(8, 4)), ["2 (GELU)", "there are"]),
    "LayerNorm": (lambda: flat(nn.LayerNorm(84), head(2)), ["1 (LayerNorm)"]),
    "LSTM": (lambda: Net(lambda n, x: n.deep.lstm(x)[0], deep=nn.ModuleDict({"lstm": nn.LSTM(7, 4)})), ["deep.lstm (LSTM)"]),
    "Softmax": (lambda: flat(head(2), nn.Softmax(1)), ["2 (Softmax)", "probabilities"]),
    "statistics of the batch": (
        lambda: flat(BinaryLinear(84, 8), nn.BatchNorm1d(8, track_running_stats=False)),
        ["2 (BatchNorm1d)", "track_running_stats"],
    ),
    "3-D input": (lambda: nn.Sequential(nn.Flatten(2), BinaryLinear(42, 8)), ["0 (Flatten)", "nn.Flatten()"]),
    "an image in a linear layer": (lambda: nn.Sequential(BinaryLinear(7, 4)), ["0 (BinaryLinear)", "flatten it first"]),
    "two outputs": (lambda: Net(lambda n, x: (x.flatten(1), x.flatten(1))), ["one tensor"]),
    "no tensor of the image": (lambda: Net(lambda n, x: n.p * 1, p=nn.Parameter(torch.ones(4))), ["one tensor"]),
    "two inputs": (two_inputs, ["x, other", "images alone"]),
    "hooks": (hooked, ["2 (Linear)", "hooks"]),
    "hooks of the network": (hooked_as_a_whole, ["network=Sequential", "hooks"]),
    "changed in place": (
        lambda: Net(lambda n, x: n.head((lambda y: n.relu(y) + y)(x).flatten(1)), relu=nn.ReLU(True), head=head(2)),
        ["in place", "add"],
    ),
    "always dropping": (lambda: Net(lambda n, x: F.dropout(x.flatten(1))), ["training=self.training"]),
    "an image as scores": (lambda: nn.Sequential(first()), ["class scores"]),
    "bits as scores": (lambda: flat(BinaryLinear(84, 4), Ste()), ["class scores"]),
    "part of a width": (lambda: Net(lambda n, x: n.head(x[..., :3].flatten(1)), head=nn.Linear(36, 4)), ["getitem"]),
    "every second channel": (lambda: Net(lambda n, x: n.head(x[:, ::2].flatten(1)), head=head(1)), ["getitem"]),
    "concatenated images": (lambda: Net(lambda n, x: torch.cat([x, x], dim=2).flatten(1)), ["cat"]),
    "repeated channel": (lambda: Net(lambda n, x: (x[:, :1] * n.p).flatten(1), p=nn.Parameter(torch.ones(1, 3, 1, 1))), ["mul"]),
    "a number for each place": (lambda: Net(lambda n, x: (x + n.p).flatten(1), p=nn.Parameter(torch.ones(2, 6, 7))), ["add"]),
    "unknown argument": (lambda: Net(lambda n, x: torch.add(x, x, out=None).flatten(1)), ["add", "arguments"]),
    "pad of another number": (lambda: Net(lambda n, x: F.pad(x, (1, 1, 1, 1), value=0.5).flatten(1)), ["pad"]),
    "reflected border": (lambda: Net(lambda n, x: F.pad(x, (1, 1, 1, 1), mode="reflect").flatten(1)), ["pad"]),
    "parts": (lambda: Net(lambda n, x: x.chunk(2, dim=1)[0].flatten(1)), ["chunk"]),
    "a forward that fails": (lambda: flat(nn.Linear(83, 4)), ["fails on images of 2x6x7"]),
    "circular border": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")), ["0 (Conv2d)", "use zeros"]),
    "same and even": (lambda: nn.Sequential(BinaryConv2d(2, 3, 2, padding="same")), ["0 (BinaryConv2d)", "in pixels"]),
    "another estimator": (lambda: flat(BinaryLinear(84, 4, estimator=nn.ELU())), ["1 (BinaryLinear)", "ELU"]),
    "pool with a dilation": (lambda: nn.Sequential(nn.MaxPool2d(2, dilation=2)), ["0 (MaxPool2d)", "dilation"]),
    "divisor": (lambda: nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), ["0 (AvgPool2d)", "divisor"]),
    "uneven places": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(4)), ["0 (AdaptiveAvgPool2d)", "divide"]),
    "cut border": (lambda: nn.Sequential(nn.ZeroPad2d(-1)), ["0 (ZeroPad2d)"]),
    "limits for each channel": (lambda: Net(lambda n, x: x.clamp(n.p).flatten(1), p=nn.Parameter(torch.ones(2, 1, 1))), ["clamp"]),
    "a pixel of many": (lambda: Net(lambda n, x: n.a(x.flatten(1))[:, :, None, None].flatten(1), a=head(2)), ["getitem"]),
    "no number": (lambda: flat(nn.Linear(84, 4, bias=False).requires_grad_(False)), ["no number"]),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("made", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_exported_is_refused_in_one_line(made, words, packed_of, request):
    model = made()
    if "no number" in request.node.callspec.id:
        model[1].weight[0, 0] = float("nan")
    with pytest.raises(ConfigError) as error:
        packed_of(model, SHAPE)
    line = str(error.value)
    assert "\n" not in line
    assert all(word in line for word in words), line
