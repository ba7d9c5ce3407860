import torch

from bnn_train import models
from bnn_train.models.layer_table import layer_rows


def test_every_number_of_a_small_cnn(compose):
    config = compose("model=cnn", "model.stages=[[4],[8]]", "model.hidden=[6]")
    model = models.build(config, (3, 8, 8), 10).train()
    rows = {row.name: row for row in layer_rows(model, torch.rand(1, 3, 8, 8))}
    assert list(rows) == ["conv1", "norm_conv1", "conv2", "norm_conv2", "linear1", "norm_linear1", "output"]

    first, second, linear, output = rows["conv1"], rows["conv2"], rows["linear1"], rows["output"]
    assert (first.weight_bits, first.input_bits) == (1, 32)
    assert (first.output_shape, first.parameters, first.bytes) == ((4, 8, 8), 3 * 4 * 9, 14)  # 108 bits, rounded up to bytes
    assert (first.binary_macs, first.real_macs) == (0, 108 * 64)
    assert (second.output_shape, second.input_bits) == ((8, 4, 4), 1)
    assert (second.binary_macs, second.real_macs) == (4 * 8 * 9 * 16, 0)
    assert (linear.parameters, linear.binary_macs, linear.bytes) == (8 * 2 * 2 * 6, 192, 24)
    assert (output.parameters, output.weight_bits, output.real_macs, output.bytes) == (70, 32, 60, 280)
    assert (rows["norm_linear1"].parameters, rows["norm_linear1"].bytes) == (12, 4 * 24)  # scale, shift, mean, variance
    assert model.training


def test_the_twin_counts_no_binary_macs(compose):
    model = models.build(compose("ste=none", "weights=real"), (1, 8, 8), 10)
    rows = layer_rows(model, torch.rand(1, 1, 8, 8))
    assert {row.weight_bits for row in rows} == {32}
    assert sum(row.binary_macs for row in rows) == 0
    assert sum(row.real_macs for row in rows) == 64 * 512 + 2 * 512**2 + 5120


def test_measuring_leaves_the_networks_state_alone(compose):
    model = models.build(compose("ste.stochastic=true"), (1, 8, 8), 10)
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    layer_rows(model, torch.rand(1, 1, 8, 8, generator=torch.Generator()))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
