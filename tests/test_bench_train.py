"""The comparison with the classic loop is of equal networks, and says on what kind of machine."""

import benching
import classic_loop
import pytest
import torch
from bench_train import NETWORKS
from torch import nn

from bnn_train import models


def weighted(model):
    """What has weights: the kind of layer, their shape, and of a convolution its stride and padding."""
    kinds = (nn.Linear, nn.Conv2d, nn.BatchNorm2d, nn.BatchNorm1d)
    for module in model.modules():
        kind = next((kind.__name__ for kind in kinds if isinstance(module, kind)), None)
        if kind:
            yield kind, tuple(module.weight.shape), getattr(module, "stride", None), getattr(module, "padding", None)


@pytest.fixture
def _float64():
    """Sums in another order differ so little that no sign turns."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_classic_network_is_ours_layer_for_layer(network, compose):
    """The same layers in the same order; with the same weights the same logits and the same gradients."""
    torch.manual_seed(0)
    smaller = ["model.dropout=0", "model.hidden=[32,32,32]"] if network == "mnist_mlp" else []
    config = compose(*NETWORKS[network], *smaller)
    shape = (1, 28, 28) if network == "mnist_mlp" else (3, 32, 32)
    size = {key: getattr(config.model, key, []) for key in ("stages", "hidden")}
    classic = classic_loop.network(config.model.name, shape, 10, **size, dropout=0)
    ours = models.build(config, shape, 10)
    assert list(weighted(classic)) == list(weighted(ours))
    assert sum(p.numel() for p in classic.parameters()) == sum(p.numel() for p in ours.parameters())
    ours.load_state_dict(dict(zip(ours.state_dict(), classic.state_dict().values(), strict=True)))
    images, labels = torch.randn(2, *shape), torch.tensor([0, 9])
    logits = [model(images) for model in (classic, ours)]
    torch.testing.assert_close(*logits)
    gradients = [
        torch.autograd.grad(nn.functional.cross_entropy(scores, labels), list(model.parameters()))
        for scores, model in zip(logits, (classic, ours), strict=True)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("avx2 avx512f avx512_vnni", "AVX512-VNNI"),
        ("avx2 avx512f", "AVX-512 without VNNI"),
        ("avx avx2 avx_vnni", "AVX2 alone"),
        ("asimd", "neither AVX2 nor AVX-512"),
    ],
)
def test_a_machine_is_of_the_kind_that_its_flags_say(flags, kind):
    assert benching.kind(set(flags.split())) == kind


def test_a_system_without_the_file_says_less_of_its_processor(tmp_path):
    assert benching.processor(tmp_path / "nothing") == {}


def test_kept_to_avx2_every_library_is_told(monkeypatch):
    told = benching.variables("avx2")
    assert {name for name, value in told.items() if value.lower() == "avx2"} == {
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "MKL_ENABLE_INSTRUCTIONS",
    }
    assert benching.variables(None) == {}


def test_a_process_that_was_not_kept_to_avx2_ends(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr("bnn_train.kernels.compiler.CPU", None)
    with pytest.raises(SystemExit, match="not kept to AVX2: it says AVX512"):
        benching.keep_to("avx2")
