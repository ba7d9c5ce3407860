import copy
import subprocess
import sys

import pytest
import torch

from bnn_train.optim import without_compiler


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_a_plain_step_is_torchs_own(kind):
    """Bit for bit, and without a graph behind it."""
    parameters = [[torch.nn.Parameter(torch.linspace(-1, 1, 7))] for _ in range(2)]
    ours, torchs = without_compiler.plain(kind)(parameters[0], lr=0.1), kind(parameters[1], lr=0.1)
    for _ in range(3):
        for optimizer, (parameter,) in zip((ours, torchs), parameters, strict=True):
            optimizer.zero_grad()
            parameter.pow(3).sum().backward()
            optimizer.step()
    assert torch.equal(parameters[0][0], parameters[1][0])
    assert parameters[0][0].is_leaf
    assert ours.state_dict().keys() == torchs.state_dict().keys()


def test_neither_compiler_is_imported():
    """By nothing that a training calls of its optimizer: not torch's, and not LLVM where it would not be worth it."""
    code = """
import sys
from bnn_train.cli.compose import typed
from bnn_train.models import build
from bnn_train.optim import optimizers
import bnn_train.training.trainer
import torch
for name in ("adam", "adamw", "sgd", "bop"):
    config = typed(["model.hidden=[8,8]", f"optimizer={name}", *(["weights=binary"] if name == "bop" else [])])
    model = build(config, (1, 8, 8), 10, torch.device("cpu"))
    optimizer = optimizers.build(config.optimizer, model, 100)
    model(torch.rand(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
assert not {"torch._dynamo", "llvmlite"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_copy_steps_alike():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = without_compiler.plain(torch.optim.SGD)([parameter], lr=0.5)
    twin = copy.deepcopy(optimizer)
    for each in (optimizer, twin):
        each.param_groups[0]["params"][0].grad = torch.ones(3)
        each.step()
    assert torch.equal(twin.param_groups[0]["params"][0], parameter)
