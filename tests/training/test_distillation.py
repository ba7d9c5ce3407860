import copy
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn_train import models
from bnn_train.data import mixup
from bnn_train.data.batches import train_batches
from bnn_train.errors import ConfigError
from bnn_train.training.distillation import Distillation, Teacher, attention, attention_map, kl, layers

LOGITS = ("distill=logits", "distill.teacher=t")
ATTENTION = ("distill=attention", "distill.teacher=t")
CNN = ("model=cnn", "model.stages=[[4],[4]]", "model.hidden=[8]", "optimizer=sgd", "scheduler=constant")


def test_kl_of_two_classes_by_hand():
    """Teacher 3/4 and 1/4, student 1/2 and 1/2; at T = 2 the teacher has sqrt(3) : 1."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    assert kl(student, teacher).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    p = math.sqrt(3) / (1 + math.sqrt(3))
    by_hand = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    assert kl(student, teacher, 2).item() == pytest.approx(by_hand)
    assert kl(student.repeat(3, 1), teacher.repeat(3, 1), 2).item() == pytest.approx(by_hand)  # the mean over the batch


@pytest.mark.parametrize("temperature", [0.5, 1, 4])
def test_the_gradient_of_kl_is_t_times_the_difference_of_the_softmaxes(temperature):
    """Over N: T^2 for the definition, 1 / T for the inner derivative, so that at high T it tends to a difference of scores."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator)
    student.requires_grad_()
    kl(student, teacher, temperature).backward()
    expected = temperature * ((student / temperature).softmax(1) - (teacher / temperature).softmax(1)) / 5
    torch.testing.assert_close(student.grad, expected.detach())
    assert kl(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-6)


def test_the_attention_of_hand_made_maps():
    """Two channels of 1x2: energies 9 + 16 and 0 + 0, and 9 and 16."""
    first = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    second = torch.tensor([[[[3.0, 0.0]], [[0.0, -4.0]]]])
    assert attention_map(first).tolist() == [[1, 0]]
    norm = math.sqrt(9**2 + 16**2)
    assert attention_map(second)[0].tolist() == pytest.approx([9 / norm, 16 / norm])
    assert attention(attention_map(first), attention_map(second)).item() == pytest.approx(2 - 2 * 9 / norm)
    apart = torch.eye(2)
    assert attention(apart, apart.flip(0)).item() == 2  # the largest there is


def test_attention_sees_where_and_not_how_much_or_in_which_channel():
    features = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    maps = attention_map(features)
    for other in (7 * features, -features, features.flip(1), torch.cat([features, features], dim=1)):
        torch.testing.assert_close(attention_map(other), maps)
    assert not torch.allclose(attention_map(features.flip(3)), maps)


def test_a_network_that_looks_where_its_teacher_does_gets_no_gradient():
    features = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = attention(attention_map(features), attention_map(features.detach()))
    loss.backward()
    assert loss.item() == 0
    assert features.grad.count_nonzero() == 0


def test_a_dead_map_has_a_finite_gradient():
    features = torch.zeros(2, 4, 3, 3, requires_grad=True)
    attention(attention_map(features), attention_map(torch.ones(2, 4, 3, 3))).backward()
    assert features.grad.isfinite().all()


def taught(t, teacher=None, at=None):
    """A trainer whose steps follow a teacher of its own configuration; gives the teacher's network and the Distillation."""
    config = t.config
    network = models.build(config, t.data.image_shape, 10).eval() if teacher is None else teacher
    image = torch.zeros(1, *t.data.image_shape)
    found = Distillation(
        config.distill, t.loss, t.forward, t.model, Teacher(network, network), layers(config.distill, t.model, network, image)
    )
    t.forward, t.loss = found.forward, found.loss
    return network, found


@pytest.mark.parametrize("other", [(), ("data.mixup=0.4",), ("trainer.class_weights=balanced", "trainer.label_smoothing=0.1")])
def test_a_step_with_a_teacher_is_the_written_out_one(trainer, other):
    weights = ("distill.labels=0.5", "distill.logits=2", "distill.temperature=3", "distill.attention=4", "distill.at=[conv2]")
    t = trainer(*CNN, *ATTENTION, *weights, *other)
    plain, (network, _) = t.loss, taught(t)
    inputs, labels = next(train_batches(t.data.train, t.config.data, 100, 0, 0))
    mix = mixup.draw(0.4, 1, 100, 0, 0, torch.device("cpu"))[0] if t.config.data.mixup else None
    twin, seen = copy.deepcopy(t.model), {}
    for name, model in (("student", twin), ("teacher", network)):
        model.conv2.register_forward_hook(lambda m, i, output, name=name: seen.update({name: output}))
    given = inputs if mix is None else mix.inputs(inputs)
    logits, targets = twin(given), network(given).detach()
    of_labels = (lambda of: plain(given, logits, of)) if mix is None else None
    label_loss = of_labels(labels) if mix is None else mix.loss(lambda of: plain(given, logits, of), labels)
    matched = F.kl_div((logits / 3).log_softmax(1), (targets / 3).softmax(1), reduction="batchmean") * 9
    energy = {name: features.detach().square().sum(1).flatten(1) for name, features in seen.items()}
    maps = [e / e.norm(dim=1, keepdim=True) for e in (energy["student"], energy["teacher"])]
    expected = 0.5 * label_loss + 2 * matched + 4 * (maps[0] - maps[1]).square().sum(1).mean()
    t.train_step(inputs, labels, restore=False, mix=mix)
    assert t.losses[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixups_two_sets_of_labels_ask_the_teacher_once(trainer):
    t = trainer(*LOGITS, "data.mixup=0.4", "trainer.max_steps=3")
    network, _ = taught(t)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    for _ in t.fit():
        pass
    assert len(calls) == 3


def test_a_network_that_is_its_teacher_stands_still(trainer):
    """Labels without weight, logits alone: to rounding, no gradient. (The teacher is in training mode here, as the student is.)"""
    t = trainer(*LOGITS, "distill.labels=0")
    taught(t, copy.deepcopy(t.model))
    inputs, labels = next(train_batches(t.data.train, t.config.data, 100, 0, 0))
    loss = t.loss(inputs, t.forward(inputs), labels)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(p.grad.abs().max() < 1e-6 for p in t.model.parameters())


def test_nothing_of_the_looking_is_left_between_the_steps(trainer):
    """After each step the network is as without a teacher: copied, pickled, evaluated, averaged, and nothing is kept of it."""
    hooks, seen = [], []

    def look(t):
        hooks.append([m for m in t.model.modules() if m._forward_hooks or m._forward_pre_hooks])
        seen.append(found._maps)
        pickle.dumps(t.model)
        assert list(copy.deepcopy(t.model).state_dict()) == list(t.model.state_dict())

    t = trainer(*CNN, *ATTENTION, "distill.at=[conv2]", "trainer.ema=0.9", "trainer.max_steps=3", after_step=look)
    names = list(t.model.state_dict())
    network, found = taught(t)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in t.fit():
        assert not found._maps
    assert (hooks, seen) == ([[]] * 3, [{}] * 3)
    assert list(t.model.state_dict()) == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_a_teacher_a_step_calls_the_network_and_the_loss_alone(trainer):
    t = trainer()
    assert t.forward is t.model


RESNET = ("model=resnet20", "block=bireal")


def matched(compose, student, teacher, *overrides, size=8):
    config = compose(*student, *ATTENTION, *overrides)
    networks = [models.build(each, (1, size, size), 10) for each in (config, compose(*teacher))]
    modes = [module.training for module in networks[0].modules()]
    found = layers(config.distill, *networks, torch.zeros(1, 1, size, size))
    assert [module.training for module in networks[0].modules()] == modes
    return found


def test_attention_is_of_every_shortcut_unless_layers_are_named(compose):
    """Of 18, and of images of 4x4 less the last six, whose outputs have one place. The teacher has other estimators and weights."""
    found = matched(compose, RESNET, (*RESNET, "ste=none", "weights=real"))
    assert (found[0], found[-1], len(found)) == ("stage1.block1", "stage3.block6", 18)
    assert matched(compose, RESNET, RESNET, size=4) == found[:12]


def test_layers_may_have_other_numbers_of_channels(compose):
    wider = ("model=cnn", "model.stages=[[4],[6]]", "model.hidden=[8]")
    assert matched(compose, CNN, wider, "distill.at=[conv2,norm_conv1]") == ["conv2", "norm_conv1"]
    assert matched(compose, ("model=mlp",), wider, "distill.attention=0") == []


OF_SHORTCUTS = "distill.attention=30.0: is of every block with a shortcut, and the network has none; name layers: distill.at="


@pytest.mark.parametrize(
    ("student", "teacher", "override", "line"),
    [
        (CNN, CNN, "distill.at=[]", OF_SHORTCUTS),
        (CNN, CNN, "distill.at=[cnov2]", r"distill.at=\[cnov2\]: cnov2 is no layer that the network calls; did you mean conv2\?$"),
        (
            CNN,
            CNN,
            "distill.at=[block]",
            r"distill.at=\[block\]: block is no layer that the network calls; there are conv1, conv2, ",
        ),
        (CNN, ("model=cnn", "model.stages=[[4]]"), "distill.at=[conv2]", "conv2 is no layer that the teacher calls; there are con"),
        (CNN, CNN, "distill.at=[output]", "output has outputs of one place, so that their map is one number and says nothing"),
        (CNN, ("model=cnn", "model.stages=[[4,4]]"), "distill.at=[conv2]", "has outputs of 4x4 in the network and 8x8 in the teac"),
        (
            ("model=mlp",),
            CNN,
            "distill.at=[linear1]",
            "distill.attention=30.0: there is no layer of one name in both networks with",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_with_some_that_do(compose, student, teacher, override, line):
    with pytest.raises(ConfigError, match=line):
        matched(compose, student, teacher, override)


def test_an_exported_teacher_has_no_attention(compose):
    config = compose(*CNN, *ATTENTION)
    with pytest.raises(ConfigError, match=r"distill.attention=30.0: looks into a network's layers, and an exported file has class"):
        layers(config.distill, models.build(config, (1, 8, 8), 10), None, torch.zeros(1, 1, 8, 8))


def test_the_loss_of_a_teacher_without_layers_needs_no_look(compose):
    """An exported teacher: class scores alone, from anything that gives them."""
    config = compose(*LOGITS, "distill.labels=0").distill
    student = nn.Linear(4, 2)
    scores = torch.tensor([[math.log(3), 0.0]])
    plain = SimpleNamespace(loss=None)
    found = Distillation(config, plain.loss, student, student, Teacher(lambda inputs: scores), [])
    inputs = torch.ones(1, 4)
    logits = found.forward(inputs)
    assert found.loss(inputs, logits, torch.zeros(1)).item() == pytest.approx(kl(logits, scores).item())
