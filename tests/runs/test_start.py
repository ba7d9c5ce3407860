"""What a new run starts with: another run's weights, or those of a real network that plain torch has saved."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bnn_train.binary.ste import sign
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint
from bnn_train.runs import run as run_module
from bnn_train.runs.assemble import assemble
from bnn_train.runs.run import run
from bnn_train.training.trainer import Trainer


def state_of(run_dir):
    return checkpoint.load(run_dir / "checkpoints" / "last.pt")


def test_init_from_latent_weights_starts_bop_from_their_signs(small, tmp_path):
    run(small(), tmp_path / "latent")
    run(small("optimizer=bop", "optimizer.threshold=1000", f"init_from={tmp_path / 'latent'}"), tmp_path / "bop")
    latent, binary = (state_of(tmp_path / name)["trainer"]["model"]["linear1.weight"] for name in ("latent", "bop"))
    assert torch.equal(binary, sign(latent))  # at that threshold nothing flips


def test_init_from_starts_a_new_run_with_saved_weights(small, tmp_path):
    run(small(), tmp_path / "first")
    weights = state_of(tmp_path / "first")["trainer"]["model"]
    seen = []

    class Watched(Trainer):
        def fit(self):
            seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
            return super().fit()

    run_module_trainer, run_module.Trainer = run_module.Trainer, Watched
    try:
        run(small("seed=9", f"init_from={tmp_path / 'first'}"), tmp_path / "second")
    finally:
        run_module.Trainer = run_module_trainer
    assert all(torch.equal(seen[0][name], tensor) for name, tensor in weights.items())
    assert len((tmp_path / "second" / "metrics.jsonl").read_text().splitlines()) == 2
    with pytest.raises(
        ConfigError, match=r"init_from=.*does not fit the network: linear1\.weight is \(16, 64\) there and \(9, 64\) here"
    ):
        run(small("model.hidden=[9,16]", f"init_from={tmp_path / 'first'}"), tmp_path / "third")
    with pytest.raises(ConfigError, match=r"init_from=.*holds no checkpoints"):
        run(small(f"init_from={tmp_path}"), tmp_path / "fourth")


def test_init_from_another_kind_of_weights_and_without_scaling_factors(small, tmp_path):
    run(small(), tmp_path / "latent")
    latent = state_of(tmp_path / "latent")["trainer"]["model"]["linear1.weight"]
    start = (f"init_from={tmp_path / 'latent'}", "trainer.max_steps=1")
    run(small("optimizer=bayesbinn", "optimizer.natural_lr=1e-12", *start), tmp_path / "bayes")
    natural = state_of(tmp_path / "bayes")["trainer"]["model"]["linear1.weight"]
    assert torch.equal(sign(natural), sign(latent))
    assert natural.abs().min() > 9.9
    run(small("weights.scaling=learned", "optimizer.lr=1e-12", *start), tmp_path / "scaled")
    scaled = state_of(tmp_path / "scaled")["trainer"]["model"]["linear1.scaling_factor"]
    torch.testing.assert_close(scaled, latent.abs().mean(dim=1))
    run(small("weights.centre=true", "optimizer.lr=1e-12", *start), tmp_path / "centred")
    centred = state_of(tmp_path / "centred")["trainer"]["model"]["linear1.weight"]
    torch.testing.assert_close(centred, latent - latent.mean(dim=1, keepdim=True))

    def weight(name):
        return state_of(tmp_path / name)["trainer"]["model"]["linear1.weight"]

    run(small("optimizer=bayesbinn", "optimizer.natural_lr=0.01"), tmp_path / "moved")
    assert (weight("moved").abs() - 10).abs().max() > 0.1
    run(small("optimizer=bayesbinn", "optimizer.natural_lr=1e-12", f"init_from={tmp_path / 'moved'}", start[1]), tmp_path / "again")
    torch.testing.assert_close(weight("again"), weight("moved"), rtol=1e-3, atol=0.05)  # the same kind stays as it is


def test_init_from_progressive_weights_and_to_them_leaves_the_masks_behind(small, tmp_path):
    """A new run begins before its windows, whatever the masks were where its weights come from."""
    progressive = small("weights=stompp", "trainer.max_steps=15")  # of 28 steps
    run(progressive, tmp_path / "within")
    run(small(), tmp_path / "plain")
    saved = {name: state_of(tmp_path / name)["trainer"]["model"] for name in ("within", "plain")}
    masks = {name for name in saved["within"] if "mask" in name}
    assert any(name.endswith("mask_ones") for name in masks)
    assert saved["within"].keys() - masks == saved["plain"].keys()
    data = datasets.load(progressive.data, torch.device("cpu"))
    for start, config in (("within", small()), ("within", progressive), ("plain", progressive)):
        model = assemble(replace(config, init_from=str(tmp_path / start)), data, torch.device("cpu")).model.state_dict()
        assert all(torch.equal(tensor, saved[start][name]) for name, tensor in model.items() if "mask" not in name)
        assert {name: tensor.item() for name, tensor in model.items() if "mask" in name} == (
            {name: 0 for name in masks if name.endswith("share")} if config is progressive else {}
        )


@pytest.fixture(scope="module")
def plain():
    """A real network of plain torch with the layers of model.hidden=[16,16], by their names; binary layers have no bias."""
    torch.manual_seed(3)
    names = ("flatten", "linear1", "norm_linear1", "relu1", "linear2", "norm_linear2", "output")
    layers = [nn.Flatten(), nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()]
    layers += [nn.Linear(16, 16, bias=False), nn.BatchNorm1d(16), nn.Linear(16, 10)]
    model = nn.Sequential()
    for name, layer in zip(names, layers, strict=True):
        model.add_module(name, layer)
    model(torch.randn(8, 1, 8, 8))
    return model.state_dict()


def start_of(config):
    data = datasets.load(config.data, torch.device("cpu"))
    return assemble(config, data, torch.device("cpu")).model.state_dict()


WRAPPED = {
    "torch.save": lambda state: state,
    "within a checkpoint": lambda state: {"epoch": 3, "state_dict": state},
    "of DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "without counts": lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_init_from_a_plain_state_dict(small, plain, tmp_path, how):
    torch.save(WRAPPED[how](plain), tmp_path / "real.pt")
    found = start_of(small(f"init_from={tmp_path}/real.pt"))
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items() if "num_batches" not in name)


def test_init_from_safetensors_for_every_kind_of_weights(small, plain, tmp_path):
    save_file(plain, tmp_path / "real.safetensors")
    start = f"init_from={tmp_path}/real.safetensors"
    latent = plain["linear1.weight"]
    assert torch.equal(start_of(small(start))["linear1.weight"], latent)
    assert torch.equal(start_of(small("optimizer=bop", start))["linear1.weight"], sign(latent))
    assert torch.equal(start_of(small("optimizer=bayesbinn", start))["linear1.weight"], 10 * sign(latent))
    learned = start_of(small("weights.scaling=learned", start))["linear1.scaling_factor"]
    torch.testing.assert_close(learned, latent.abs().mean(dim=1))
    (tmp_path / "real.safetensors").write_bytes(b"cut")
    with pytest.raises(ConfigError, match=r"init_from=.*cannot be read as safetensors"):
        start_of(small(start))


def test_names_that_do_not_fit_are_listed(small, plain, tmp_path):
    other = {name.replace("output", "head"): tensor for name, tensor in plain.items()}
    other["linear2.weight"] = torch.zeros(16, 9)
    torch.save(other, tmp_path / "real.pt")
    with pytest.raises(ConfigError) as caught:
        start_of(small(f"init_from={tmp_path}/real.pt"))
    assert caught.value.remedy == (
        "does not fit the network: linear2.weight is (16, 9) there and (16, 16) here; it lacks output.weight, output.bias; "
        "it has head.weight, head.bias too much"
    )
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="is not a checkpoint of this program"):
        start_of(small(f"init_from={tmp_path}/other.pt"))
