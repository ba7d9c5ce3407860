import torch
import torch.nn.functional as F
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryLinear
from bnn_train.models.layer_table import layer_rows
from bnn_train.report.tables import network_totals


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


def test_a_factor_for_each_output_takes_four_bytes_computed_or_learned(compose):
    sizes = {}
    for scaling in ("none", "mean", "power_of_two", "learned"):
        rows = layer_rows(models.build(compose(f"weights.scaling={scaling}"), (1, 8, 8), 10), torch.rand(1, 1, 8, 8))
        sizes[scaling] = {row.name: row.bytes for row in rows}["linear2"]
    plain = 512 * 512 // 8
    assert sizes == {"none": plain, "mean": plain + 4 * 512, "power_of_two": plain + 4 * 512, "learned": plain + 4 * 512}


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


class Odd(nn.Module):
    """A layer called twice, a parameter of the module's own, one used past its layer's forward, a tensor shared by two layers."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"twice": BinaryLinear(6, 6)})
        self.gain = nn.Parameter(torch.ones(6))
        self.uncalled = nn.Linear(6, 3, bias=False)
        self.tied = nn.Linear(6, 3, bias=False)
        self.tied.weight = self.uncalled.weight

    def forward(self, x):
        x = self.body["twice"](self.body["twice"](x.flatten(1))) * self.gain
        return F.linear(x, self.uncalled.weight) + self.tied(x)


def test_anybodys_module_is_counted_once_and_whole():
    model = Odd()
    rows = {row.name: row for row in layer_rows(model, torch.randn(1, 1, 2, 3))}
    assert list(rows) == ["body.twice", "tied", "", "uncalled"]
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in model.parameters()) == 36 + 6 + 18
    assert (rows["body.twice"].parameters, rows["body.twice"].binary_macs) == (36, 2 * 36)
    assert (rows["tied"].parameters, rows["tied"].real_macs) == (18, 18)
    assert (rows["uncalled"].parameters, rows["uncalled"].real_macs, rows["uncalled"].output_shape) == (0, 0, ())
    assert (rows[""].kind, rows[""].parameters) == ("Odd", 6)


def test_a_learned_scale_is_counted(compose):
    model = models.build(compose("weights.scaling=learned", "model.hidden=[8,8]"), (1, 2, 2), 3)
    row = next(row for row in layer_rows(model, torch.rand(1, 1, 2, 2)) if row.name == "linear2")
    assert (row.parameters, row.binary_weights, row.bytes) == (72, 64, 8 + 32)
    totals = network_totals([row])
    assert totals["float32_bytes"] == 4 * 72
