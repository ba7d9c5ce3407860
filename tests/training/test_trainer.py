import copy
import io
import itertools
import re
import shutil
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnn_train.binary import ways
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import Sign
from bnn_train.data import datasets, mixup
from bnn_train.data.batches import train_batches
from bnn_train.errors import ConfigError
from bnn_train.report import terminal
from bnn_train.runs.assemble import assemble
from bnn_train.training.evaluation import evaluate
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")


def test_an_epoch_is_the_plain_loop(trainer):
    """The same numbers as forward, backward and step written out, with BatchNorm, clipping and smoothing."""
    t = trainer(
        "trainer.label_smoothing=0.1", "trainer.clip_grad_norm=0.5", "weights.clip=0.1", "optimizer=sgd", "scheduler=constant"
    )
    config, twin = t.config, trainer().model
    twin.load_state_dict(t.model.state_dict())
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    losses, correct = [], 0
    for x, y in train_batches(t.data.train, config.data, 100, config.seed, 0):
        logits = twin(x)
        loss = F.cross_entropy(logits, y, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        for layer in (twin.linear1, twin.linear2):
            layer.weight.data.clamp_(-0.1, 0.1)
        losses.append(loss.item())
        correct += (logits.argmax(1) == y).sum().item()
    row = next(iter(t.fit()))
    for name, tensor in t.model.state_dict().items():
        torch.testing.assert_close(tensor, twin.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert row["train_loss"] == pytest.approx(sum(losses) / len(losses))
    assert row["train_accuracy"] == correct / 1400


def test_an_epoch_with_mixup_is_the_plain_loop(trainer):
    """Inputs and losses mixed as drawn, labels smoothed; accuracy counts the label with the larger share."""
    t = trainer("data.mixup=0.4", "trainer.label_smoothing=0.1", "optimizer=sgd", "scheduler=constant", "data.crop_padding=1")
    config, twin = t.config, trainer().model
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    twin.load_state_dict(t.model.state_dict())
    losses, correct = [], 0
    mixes = mixup.draw(0.4, 14, 100, config.seed, 0, CPU)
    for (x, y), mix in zip(train_batches(t.data.train, config.data, 100, config.seed, 0), mixes, strict=True):
        logits = twin(mix.share * x + (1 - mix.share) * x[mix.others])
        targets = mix.share * F.one_hot(y, 10) + (1 - mix.share) * F.one_hot(y[mix.others], 10)
        loss = F.cross_entropy(logits, targets.float(), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for layer in (twin.linear1, twin.linear2):
            layer.weight.data.clamp_(-1, 1)
        losses.append(loss.item())
        correct += (logits.argmax(1) == y).sum().item()
    row = next(iter(t.fit()))
    assert row["train_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert row["train_accuracy"] == pytest.approx(correct / 1400, abs=2 / 1400)
    torch.testing.assert_close(t.model.output.weight, twin.output.weight, rtol=1e-3, atol=1e-3)


def test_any_loss_is_mixed_and_sees_the_mixed_inputs(trainer):
    t = trainer("data.mixup=1", "trainer.batch_size=1400")
    seen = []
    t.loss = lambda inputs, logits, labels: (seen.append((inputs, labels)), (logits.mean() + labels.sum()))[1]
    t.train_epoch()
    (mix,) = mixup.draw(1, 1, 1400, t.config.seed, 0, CPU)
    ((x, y),) = train_batches(t.data.train, t.config.data, 1400, t.config.seed, 0)
    assert all(torch.equal(inputs, mix.inputs(x)) for inputs, _ in seen)
    assert [labels.tolist() for _, labels in seen] == [y.tolist(), y[mix.others].tolist()]


def test_rows_hold_every_split(trainer):
    rows = list(trainer("data.val_size=100").fit())
    assert [row["epoch"] for row in rows] == [1, 2]
    keys = ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    assert list(rows[0]) == keys
    assert "val_loss" not in next(iter(trainer().fit()))


def test_uniform_bernoulli_weights_keep_to_the_support_and_the_prior_pulls_them_to_the_fair_coin(trainer):
    t = trainer("weights=stochastic", "weights.noise=uniform", "weights.scale=0.06")
    list(t.fit())
    assert t.model.linear1.weight.abs().max().item() == pytest.approx(0.06)
    pulled = trainer("weights=stochastic", "weights.noise=uniform", "weights.scale=0.06", "weights.kl=5")
    list(pulled.fit())
    assert pulled.model.linear1.weight.abs().mean() < 0.8 * t.model.linear1.weight.abs().mean()


def test_bop_keeps_binary_weights_binary_flips_some_and_trains_the_rest(trainer):
    t = trainer("optimizer=bop")
    before = {name: p.detach().clone() for name, p in t.model.named_parameters()}

    def check(trainer):
        assert all((layer.weight.abs() == 1).all() for layer in (t.model.linear1, t.model.linear2))

    t.after_step = check
    list(t.fit())
    assert all(not torch.equal(p, before[name]) for name, p in t.model.named_parameters())


@pytest.mark.parametrize("optimizer", ["bop", "bayesbinn"])
def test_optimizers_of_binary_weights_learn_the_digits(compose, optimizer):
    config = compose(f"optimizer={optimizer}", "model.hidden=[256,256]", "trainer.epochs=10")
    data = datasets.load(config.data, CPU)
    t = Trainer(config, *assemble(config, data, CPU), data)
    assert list(t.fit())[-1]["test_accuracy"] >= 0.95


def test_latent_weights_stay_within_weights_clip(trainer):
    t = trainer("weights.clip=0.05")
    list(t.fit())
    assert t.model.linear1.weight.abs().max() <= 0.05
    assert t.model.output.weight.abs().max() > 0.05
    free = trainer("weights.clip=null", "optimizer.lr=0.2", "ste=identity")
    list(free.fit())
    assert free.model.linear1.weight.abs().max() > 1


def test_annealed_estimators_get_the_progress_of_training(trainer):
    seen = []
    rising = ("weights.prepare=quantile", "weights.tau_end=0.99")
    t = trainer(
        "ste=ede", *rising, "trainer.batch_size=700", after_step=lambda _: seen.append([module.progress for module in follow])
    )
    follow = [module for module in t.model.modules() if isinstance(module, Ste | Sign)]
    list(t.fit())
    assert len(follow) == 5  # an estimator before a layer, two for weights, and these two layers' binarizers
    assert seen == [[0.0] * 5, [0.25] * 5, [0.5] * 5, [0.75] * 5]


def test_the_learning_rate_follows_the_schedule(trainer):
    rates = []
    t = trainer(
        "scheduler=linear", "trainer.batch_size=700", after_step=lambda trainer: rates.append(t.optimizer.param_groups[0]["lr"])
    )
    rows = list(t.fit())
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert [row["lr"] for row in rows] == pytest.approx([0.01, 0.005])


@pytest.mark.parametrize("stop", [1, 9, 14, 20])
def test_state_dict_continues_bit_for_bit(trainer, stop):
    """Stopped after any step, in the middle of an epoch or at its end, and loaded into a new trainer."""

    class Stop(Exception):
        pass

    overrides = ("ste=ede", "ste.stochastic=true", "model.dropout=0.3", "data.crop_padding=1", "data.flip=true")
    whole = trainer(*overrides)
    health = {row["epoch"]: whole.health.row for row in whole.fit()}

    count = itertools.count(1)

    def maybe_stop(trainer):
        if next(count) == stop:
            raise Stop

    first = trainer(*overrides, after_step=maybe_stop)
    with pytest.raises(Stop):
        list(first.fit())
    state, random = first.state_dict(), torch.get_rng_state()
    second = trainer(*overrides)
    second.load_state_dict(state)
    torch.set_rng_state(random)
    for row in second.fit():
        assert second.health.row == health[row["epoch"]]
    assert second.history == whole.history
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


CNN = ("model=cnn", "model.stages=[[8,16]]", "model.hidden=[8]", "trainer.epochs=1")
UNCLIPPED = ("weights.clip=null", "trainer.epochs=1")  # nothing but the optimizer writes to a weight


@pytest.mark.parametrize("overrides", [(), CNN, UNCLIPPED, (*UNCLIPPED, "optimizer=sgd"), ("optimizer=bop", "trainer.epochs=1")])
def test_kernels_are_a_matter_of_speed_alone(trainer, overrides, monkeypatch):
    """An epoch whose products are torch's gives the same network, but for what float32 rounds."""
    monkeypatch.setattr(ways, "SMALLEST", 0)
    quick, plain = trainer(*overrides), trainer(*overrides)
    rows = [list(quick.fit())]
    monkeypatch.setattr(ways, "have_kernels", lambda device_type: False)
    rows.append(list(plain.fit()))
    assert [row["test_accuracy"] for row in rows[0]] == [row["test_accuracy"] for row in rows[1]]
    for name, tensor in quick.model.state_dict().items():
        torch.testing.assert_close(tensor, plain.model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_on_a_processor_every_precision_gives_the_same(trainer):
    found = []
    for precision in ("float32", "fast"):
        one = trainer(f"trainer.precision={precision}", "trainer.epochs=1")
        found.append((list(one.fit()), one.model.state_dict()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(tensor, found[1][1][name]) for name, tensor in found[0][1].items())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile takes a C++ compiler")
@pytest.mark.parametrize("precision", ["float32", "fast"])
@pytest.mark.parametrize("ste", ["clipped", "reinmax"])
@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_compiled_training_is_the_same_training(trainer, precision, ste):
    options = (f"trainer.precision={precision}", f"ste={ste}", "optimizer=sgd", "trainer.batch_size=700", "model.dropout=0.1")
    torch._dynamo.reset()
    compiled, plain = trainer("trainer.compile=true", *options), trainer(*options)
    rows = list(compiled.fit())
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert compiled.state_dict()["model"].keys() == plain.state_dict()["model"].keys()
    plain.load_state_dict(compiled.state_dict())
    assert evaluate(plain.model, plain.data.test, plain.config)["loss"] == rows[-1]["test_loss"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile takes a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_without_draws_a_compiled_step_gives_the_same_numbers(trainer):
    torch._dynamo.reset()
    options = ("optimizer=sgd", "trainer.batch_size=1400")
    compiled, plain = trainer("trainer.compile=true", *options), trainer(*options)
    for t in (compiled, plain):
        t.train_epoch()
    for name, tensor in compiled.model.state_dict().items():
        torch.testing.assert_close(tensor, plain.model.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setting", ["ste=ede", "ste=reste", "weights.ste=ede", "weights.tau_end=0.99", "weights=stompp"])
def test_what_changes_with_every_step_is_not_compiled(trainer, setting):
    with pytest.raises(ConfigError, match=f"trainer.compile=true: {setting} changes with every step"):
        trainer("trainer.compile=true", setting, *(["weights.prepare=quantile"] if "tau" in setting else []))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_state_saved_in_another_memory_layout_continues_the_same(trainer, optimizer):
    """Fused steps read raw memory: moments must lie in it as their weights do."""
    options = ("model=cnn", "model.stages=[[4,4]]", "model.hidden=[8]", f"optimizer={optimizer}", "trainer.batch_size=700")
    one, other = trainer(*options), trainer(*options)
    one.train_epoch()
    state = copy.deepcopy(one.state_dict())
    for part in state["optimizer"].get("parts", [state["optimizer"]]):
        for values in part["state"].values():
            values.update({key: value.contiguous() for key, value in values.items() if isinstance(value, torch.Tensor)})
    other.load_state_dict(state)
    for t in (one, other):
        t.history, t.step = [{}], 0
        t.train_epoch()
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_fits_and_shows_the_loss_before_all_else(trainer, monkeypatch, width):
    screen = io.StringIO()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(terminal, "shows_bar", lambda: True)
    next(iter(trainer("trainer.epochs=1000").fit()))
    drawn = [line for line in screen.getvalue().split("\r") if "loss" in line]
    assert drawn
    assert max(map(len, drawn)) < width
    total = "/1000" if width > 60 else ""
    figures = r"loss [\d.]+  train [\d.]+%" if width > 60 else r"loss [\d.]+"
    assert all(re.fullmatch(rf"epoch    1{total}  {figures} \|.{{10,}}\| +\d+%  left [\d:?]+", line) for line in drawn)
    assert "\x1b" not in screen.getvalue()
