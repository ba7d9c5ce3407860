import copy

import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryLinear
from bnn_train.edges.apply import Edges
from bnn_train.training import average
from bnn_train.training.evaluation import evaluate
from bnn_train.training.recalibration import batches, recalibrate

PRUNE = "edges.rules=[{layers: '*', edges: magnitude, largest: false, density: 0.5, what: prune, ramp: [0, 1]}]"


def test_three_steps_by_hand():
    """Weights 1, 2, 4 with decay 1/2: shares 1/4, 1/2, 1 of 7/4; what stands still keeps its last bit."""
    model = nn.Linear(2, 1, bias=False)
    of = average.Average(model, Edges([], model), 0.5)
    for value, mean in ((1.0, 1.0), (2.0, (0.5 + 2) / 1.5), (4.0, (0.25 + 1 + 4) / 1.75)):
        model.weight.data[:] = torch.tensor([value, 0.1])
        of.update()
        assert of.tensors["weight"].tolist() == [[pytest.approx(mean), torch.tensor(0.1).item()]]
    assert model.weight.tolist() == [[4.0, torch.tensor(0.1).item()]]
    of.put()
    assert model.weight.tolist() == of.tensors["weight"].tolist()


def test_the_average_is_of_latent_weights_and_not_of_signs():
    model = nn.Sequential(BinaryLinear(1, 1))
    of = average.Average(model, Edges([], model), 0.5)
    for value in (-0.9, 0.2):
        model[0].weight.data.fill_(value)
        of.update()
    of.put()
    assert model[0].weight.item() == pytest.approx((0.5 * -0.9 + 0.2) / 1.5)
    assert model[0].binary_weight().item() == -1


def test_after_many_steps_it_is_the_usual_average():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    of = average.Average(model, Edges([], model), 0.9)
    for _ in range(200):
        nn.init.normal_(model.weight)
        before = of.tensors["weight"].clone()
        of.update()
    torch.testing.assert_close(of.tensors["weight"], 0.9 * before + 0.1 * model.weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("overrides", [(), ("model=cnn", "model.stages=[[4]]", "model.hidden=[8]"), ("optimizer=bop",)])
def test_an_epoch_is_the_average_written_out(trainer, overrides):
    """The weights after each step, with the shares of the formula; the figures are those of a network that is built of them."""
    seen, options = [], ("trainer.ema=0.8", "trainer.batch_size=350", "data.val_size=100", "trainer.epochs=1", *overrides)
    t = trainer(*options, after_step=lambda t: seen.append([p.detach().double().clone() for p in t.model.parameters()]))
    (row,) = t.fit()
    shares = [0.8 ** (len(seen) - 1 - i) for i in range(len(seen))]
    twin = trainer(*options).model
    for i, parameter in enumerate(twin.parameters()):
        mean = sum(share * step[i] for share, step in zip(shares, seen, strict=True)) / sum(shares)
        parameter.data.copy_(mean)
        torch.testing.assert_close(of_position(t, i).double(), mean, rtol=1e-5, atol=1e-6)
        parameter.data.copy_(of_position(t, i))  # the last bits: a sign may hang on them
    recalibrate(twin, batches(t.data.train, t.config, 0, average.BATCHES))
    for name, split in (("val", t.data.val), ("test", t.data.test)):
        figures = evaluate(twin, split, t.config)
        assert {f"ema_{name}_{key}": value for key, value in figures.items()} == {
            key: value for key, value in row.items() if key.startswith(f"ema_{name}_")
        }


def of_position(t, i):
    return list(t.average.tensors.values())[i]


def test_training_does_not_notice_that_it_is_averaged(trainer):
    """Noise, a mask of pruned edges that grows, dropout: all the same to the last bit; and torch's generator, too."""
    options = ("ste=logistic", "ste.stochastic=true", "model.dropout=0.3", PRUNE)
    networks, states, rows = [], [], []
    for more in ((), ("trainer.ema=0.9",)):
        t = trainer(*options, *more)
        rows.append([{key: value for key, value in row.items() if not key.startswith("ema_")} for row in t.fit()])
        networks.append(t.model.state_dict())
        states.append(torch.get_rng_state())
    assert rows[0] == rows[1]
    assert torch.equal(*states)
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())


def test_edges_that_are_pruned_on_the_way_add_nothing_to_the_average_and_frozen_ones_keep_their_last_bit(trainer):
    t = trainer(PRUNE, "trainer.ema=0.99", "trainer.epochs=3")
    list(t.fit())
    pruned = t.edges.masks["output"].pruned
    t.average.put()
    assert pruned.float().mean() == pytest.approx(0.5, abs=0.01)
    assert (t.model.output.weight[pruned] == 0).all()
    assert (t.model.linear2.binary_weight()[t.edges.masks["linear2"].pruned] == 0).all()
    frozen = trainer("edges.rules=[{layers: linear1, edges: all, what: freeze}]", "trainer.ema=0.9")
    start = frozen.model.linear1.weight.detach().clone()
    list(frozen.fit())
    assert torch.equal(frozen.average.tensors["linear1.weight"], start)


def test_progressive_masks_are_not_averaged(trainer):
    t = trainer("weights=stompp", "trainer.ema=0.9", "trainer.max_steps=10")
    list(t.fit())
    state = copy.deepcopy(t.model.state_dict())
    t.average.put()
    assert all(torch.equal(state[name], tensor) for name, tensor in t.model.state_dict().items() if "mask" in name)


def test_a_network_without_batch_norm_is_averaged():
    model = nn.Linear(1, 1)
    of = average.Average(model, Edges([], model), 0.9)
    of.update()
    with of.in_place(iter([torch.zeros(2, 1)])):
        pass
    assert of.tensors["weight"].item() == model.weight.item()
