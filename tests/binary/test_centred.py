import torch
from torch import nn

from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.layers import constrain


def test_an_even_area_gives_0_whatever_its_colour_and_brightness():
    layer = CentredConv2d(3, 5, 3)
    colours = torch.tensor([[-2.0, 0.5, 1.75], [3.0, 3.0, 3.0]])
    images = colours[:, :, None, None].expand(2, 3, 6, 7)
    assert layer(images).shape == (2, 5, 4, 5)
    torch.testing.assert_close(layer(images), torch.zeros(2, 5, 4, 5), atol=1e-6, rtol=0)


def test_what_it_computes_is_torchs_convolution_and_does_not_see_a_brighter_image():
    layer, images = CentredConv2d(2, 4, 3), torch.randn(3, 2, 8, 8)
    plain = nn.Conv2d(2, 4, 3, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), plain(images))
    torch.testing.assert_close(layer(images + 5), layer(images), atol=1e-5, rtol=0)


def test_a_step_keeps_the_sums_at_0():
    layer = CentredConv2d(1, 2, 3)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight[0, 0, 1, 1] += 0.9
        layer.weight[1] += 3.0
    constrain(layer, lr=0.1)
    expected = start.clone()
    expected[0, 0] -= 0.1
    expected[0, 0, 1, 1] += 0.9
    torch.testing.assert_close(layer.weight.detach(), expected)
