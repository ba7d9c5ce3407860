"""The program in docs/export.md, as it is printed there, without what it does without."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bnn_train.deploy import file
from bnn_train.deploy.packing.pack import pack

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "export.md"
WITHOUT = ("torch", "torchvision", "hydra", "omegaconf", "yaml", "tqdm", "matplotlib", "filelock")


def program():
    (code,) = [
        code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL) if "sys.argv" in code
    ]
    return code


def brighter_than_grey(path, channels):
    """A network of two classes, by the sum of all pixels: "dark" below 128 on average, "light" above."""
    pixels = channels * 16
    linear = nn.Linear(pixels, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, pixels))
        linear.bias.zero_()
    network = nn.Sequential(nn.Flatten(), linear)
    packed = pack(network, (channels, 4, 4), [0.5] * channels, [1.0] * channels, {"classes": ["dark", "light"]})
    file.write(packed, path)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_program_prints_the_class_of_any_image(tmp_path, channels):
    brighter_than_grey(tmp_path / "photos.bnn", channels)
    Image.new("RGB", (9, 5), (250, 240, 230)).save(tmp_path / "light.jpg")
    Image.new("L", (4, 4), 20).save(tmp_path / "dark.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")  # over grey: 128
    Image.fromarray(np.full((3, 8), 60000, np.uint16)).save(tmp_path / "light16.png")
    Image.new("P", (6, 6), 0).save(tmp_path / "dark.gif")
    names = ["light.jpg", "dark.png", "clear.png", "light16.png", "dark.gif"]
    code = f"import sys\nsys.modules.update(dict.fromkeys({WITHOUT}))\n{program()}"  # None there: an import fails
    line = [sys.executable, "-c", code, *names]
    result = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    found = dict(line.split() for line in result.stdout.splitlines())
    assert found == dict(zip(names, ["light", "dark", "light", "light", "dark"], strict=True))
