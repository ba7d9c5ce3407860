import itertools

import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.ste import sign
from bnn_train.config.edges import EdgesConfig, rule
from bnn_train.data import datasets
from bnn_train.edges.apply import Edges, density_at, prune, weighted_layers
from bnn_train.kernels import elements
from bnn_train.runs.assemble import assemble
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")


def made(layers, what, edges="all", **options):
    return rule({"layers": layers, "what": what, "edges": edges, **options})


MLP = ("model.hidden=[12,12]", "trainer.batch_size=100")
CNN = ("model=cnn", "model.stages=[[4],[4]]", "model.hidden=[8]", "trainer.batch_size=100")
NEEDS_KERNELS = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")
OPTIMIZERS = [
    "optimizer=adam",
    "optimizer=adam optimizer.weight_decay=0.1",
    "optimizer=adamw optimizer.weight_decay=0.1",
    "optimizer=sgd optimizer.momentum=0.9",
    "optimizer=sgd optimizer.nesterov=true optimizer.weight_decay=0.01",
    "optimizer=bop",
    "optimizer=bayesbinn",
    "optimizer=adam weights=stochastic weights.noise=uniform weights.kl=0.5",
    "optimizer=adam weights.clip=0.01 trainer.clip_grad_norm=0.1",  # most weights start beyond that clip
    "optimizer=adam ste=none weights=real",
    *(
        pytest.param(f"trainer.step=kernels {overrides}", marks=NEEDS_KERNELS)
        for overrides in (
            "optimizer=adamw optimizer.weight_decay=0.1",
            "optimizer=sgd optimizer.nesterov=true optimizer.weight_decay=0.01",
            "optimizer=bop",
            "weights.clip=0.01 trainer.clip_grad_norm=0.1",
        )
    ),
]
HALF = "edges.rules=[{layers: '*', edges: random, density: 0.5, what: WHAT}]"


class Enough(Exception):
    """Ends training."""


def train(config, steps, stop=None, state=None):
    """(model, edges, weights at the start) after so many steps; with `stop`, the trainer's state when it was reached."""
    data = datasets.load(config.data, CPU)
    model, edges, optimizer = assemble(config, data, CPU, None if state is None else state["edges"])
    start = {name: layer.weight.detach().clone() for name, layer in weighted_layers(model).items()}
    count, saved = [0], []

    def after_step(t):
        count[0] += 1
        if count[0] == stop:
            saved.append(t.state_dict())
        if count[0] == steps:
            raise Enough

    t = Trainer(config, model, edges, optimizer, data, after_step)
    if state is not None:
        t.load_state_dict(state)
    with pytest.raises(Enough):
        list(t.fit())
    return model, edges, start, saved


def bits(tensor):
    return tensor.detach().view(torch.int32)


@pytest.mark.parametrize("network", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_edges_keep_their_last_bit_and_the_others_move(compose, network, optimizer):
    """Over 20 steps, also across a checkpoint and a new process's trainer."""
    config = compose(*network, *optimizer.split(), HALF.replace("WHAT", "freeze"))
    model, edges, start, saved = train(config, 20, stop=10)
    resumed, again, _, _ = train(config, 10, state=saved[0])
    assert list(edges.masks) == list(weighted_layers(model))
    for trained, its_edges in ((model, edges), (resumed, again)):
        for name, layer in weighted_layers(trained).items():
            frozen = its_edges.masks[name].frozen
            assert int(frozen.sum()) == round(0.5 * frozen.numel())
            assert torch.equal(bits(layer.weight)[frozen], bits(start[name])[frozen])
            assert (layer.weight != start[name])[~frozen].any()
    assert all(torch.equal(again.masks[name].frozen, edges.masks[name].frozen) for name in edges.masks)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_the_classic_example(tmp_path, kind):
    """Of a 2x2 layer with the mask [[1, 0], [1, 1]] all edges are trained but (0, 1)."""
    torch.save(torch.tensor([[1, 0], [1, 1]]), tmp_path / "mask.pt")
    model = nn.Sequential()
    model.add_module("linear1", nn.Linear(2, 2, bias=False))
    start = model[0].weight.detach().clone()
    Edges([made("linear1", "train", "file", file=str(tmp_path / "mask.pt"))], model)
    optimizer = kind(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.tensor([[1.0, 2.0]])).square().sum().backward()
        optimizer.step()
    assert (model[0].weight == start).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("network", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize(
    "optimizer", ["optimizer=adam optimizer.weight_decay=0.1", "optimizer=bop", "optimizer=bayesbinn", "weights.centre=true"]
)
def test_pruned_edges_are_never_updated_and_contribute_nothing(compose, network, optimizer):
    config = compose(*network, *optimizer.split(), HALF.replace("WHAT", "prune"))
    model, edges, start, _ = train(config, 50)
    data = datasets.load(config.data, CPU)
    inputs = (data.test.images[:50].float() / 255 - 0.5) / 0.5
    model.eval()
    before = model(inputs)
    for name, layer in weighted_layers(model).items():
        pruned = edges.masks[name].pruned
        expected = start[name] if name != "output" else torch.zeros_like(start[name])  # a real layer's are 0
        assert torch.equal(bits(layer.weight)[pruned], bits(expected)[pruned])
        if name != "output":
            layer.weight.data[pruned] *= -1  # whatever the latent weight is, the product does not see it
    assert torch.equal(model(inputs), before)


def test_a_pruned_edge_contributes_0_by_hand():
    layer = nn.Sequential()
    layer.add_module("linear1", BinaryLinear(3, 2, estimator=None))
    rule = made("linear1", "prune", "rows", index=[0])
    Edges([rule], layer)
    x = torch.tensor([[1.0, -1.0, 2.0]])
    assert layer(x)[0, 0] == 0
    assert layer(x)[0, 1] == (sign(layer[0].weight[1]) * x).sum()


def test_evaluation_prunes_from_what_was_saved(compose):
    config = compose(*MLP, HALF.replace("WHAT", "prune"))
    data = datasets.load(config.data, CPU)
    model, fresh = (models.build(config, data.image_shape, 10) for _ in range(2))
    edges = Edges(config.edges.rules, model)
    fresh.load_state_dict(model.state_dict())
    inputs = torch.randn(20, *data.image_shape)
    unpruned = fresh.eval()(inputs)
    prune(fresh, edges.state_dict())
    assert torch.equal(fresh(inputs), model.eval()(inputs))
    assert not torch.equal(fresh(inputs), unpruned)


def test_the_penalty_and_its_gradient():
    layer = nn.Sequential()
    layer.add_module("linear1", nn.Linear(3, 2, bias=False))
    layer[0].weight.data = torch.tensor([[0.5, -2.0, 0.0], [1.0, -1.0, 3.0]])
    edges = Edges([made("linear1", "l1", "columns", index=[1, 2], strength=0.25)], layer)
    penalty = edges.penalty()
    assert penalty.item() == 0.25 * (2 + 0 + 1 + 3)
    penalty.backward()
    assert layer[0].weight.grad.tolist() == [[0, -0.25, 0], [0, -0.25, 0.25]]
    assert Edges([made("linear1", "freeze")], layer).penalty() is None


def test_the_penalty_is_part_of_training_and_of_the_rows(compose):
    rules = "edges.rules=[{layers: 'linear*', edges: random, density: 0.5, what: l1, strength: 0.01}]"
    config = compose(*MLP, "trainer.epochs=3", rules)
    data = datasets.load(config.data, CPU)
    model, edges, optimizer = assemble(config, data, CPU)
    t = Trainer(config, model, edges, optimizer, data)
    rows = list(t.fit())
    assert rows[-1]["penalty"] == pytest.approx(edges.penalty().item())
    assert rows[-1]["penalty"] < rows[0]["penalty"]
    weight, (_, mask) = model.linear1.weight.detach().abs(), edges.masks["linear1"].penalties[0]
    assert weight[mask].mean() < 0.5 * weight[~mask].mean()


def test_a_ramp_prunes_the_smallest_in_steps_and_keeps_what_it_pruned(compose):
    rules = "edges.rules=[{layers: linear1, edges: magnitude, largest: false, density: 0.8, what: prune, ramp: [1,4], power: 1}]"
    config = compose(*MLP, "trainer.epochs=6", rules)
    data = datasets.load(config.data, CPU)
    model, edges, optimizer = assemble(config, data, CPU)
    seen, size = [], model.linear1.weight.numel()

    def after_step(t):
        pruned, moments = edges.masks["linear1"].pruned, optimizer.state[model.linear1.weight]
        if t.step == 1:
            seen.append(pruned.clone())
            assert (moments["exp_avg"][pruned] == 0).all()
        assert (model.linear1.weight.grad[pruned] == 0).all()

    t = Trainer(config, model, edges, optimizer, data, after_step)
    list(t.fit())
    assert [int(mask.sum()) for mask in seen] == [round(share * size) for share in (0, 0, 0.8 / 3, 1.6 / 3, 0.8, 0.8)]
    assert all((later | earlier).equal(later) for earlier, later in itertools.pairwise(seen))


def test_the_first_of_a_ramp_are_the_smallest():
    layer = nn.Sequential()
    layer.add_module("linear1", nn.Linear(4, 2, bias=False))
    layer[0].weight.data = torch.tensor([[0.4, -0.1, 0.3, 0.1], [-0.9, 0.2, 0.5, -0.6]])
    rule = made("linear1", "prune", "magnitude", density=0.5, largest=False, ramp=[0, 2], power=1.0)
    edges = Edges([rule], layer)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    edges.start_epoch(1, optimizer)
    assert edges.masks["linear1"].pruned.int().tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]
    edges.start_epoch(2, optimizer)
    assert edges.masks["linear1"].pruned.int().tolist() == [[0, 1, 1, 1], [0, 1, 0, 0]]
    assert layer[0].weight.flatten().tolist() == pytest.approx([0.4, 0, 0, 0, -0.9, 0, 0.5, -0.6])


def test_density_at_follows_the_polynomial():
    rule = made("*", "prune", "magnitude", density=0.9, largest=False, ramp=[2, 6], from_density=0.1)
    expected = [0.1, 0.1, 0.1, 0.9 - 0.8 * 0.75**3, 0.9 - 0.8 * 0.5**3, 0.9 - 0.8 * 0.25**3, 0.9, 0.9]
    assert [density_at(rule, epoch) for epoch in range(8)] == pytest.approx(expected)


def test_rows_count_every_kind():
    layer = nn.Sequential()
    layer.add_module("linear1", nn.Linear(4, 5, bias=False))
    layer[0].weight.data.fill_(1.0)
    layer[0].weight.data[2, :2] = 1e-4
    rules = [
        made("linear1", "freeze", "rows", index=[0]),
        made("linear1", "prune", "rows", index=[1]),
        made("linear1", "l1", "rows", index=[2], strength=0.1),
    ]
    (row,) = Edges(rules, layer).rows()
    assert (row.name, row.edges, row.trained, row.frozen, row.pruned, row.penalised, row.near_zero) == (
        "linear1",
        20,
        12,
        4,
        4,
        4,
        2,
    )


def test_rules_survive_the_way_through_a_configuration(compose):
    rules = EdgesConfig([{"layers": "linear1", "what": "freeze"}]).rules
    assert rules == [made("linear1", "freeze")]
    assert compose("edges.rules=[{layers: linear1, what: freeze}]").edges.rules == rules


def test_pruned_edges_of_a_centred_stem_stay_0(compose):
    config = compose(*CNN, "model.stem=centred", HALF.replace("WHAT", "prune").replace("linear*", "conv1"))
    model, edges, _, _ = train(config, 3)
    pruned = edges.masks["conv1"].pruned
    assert pruned.any()
    assert (model.conv1.weight == 0).equal(pruned)
