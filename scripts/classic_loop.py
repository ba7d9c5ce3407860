"""The classic script that bench_train.py compares with: what one writes with torch and torchvision alone, in one page.

torchvision's transforms for each sample, a DataLoader, the sign by torch.where and its gradient by hand, float32 products of -1 and
+1, Adam as it comes. Nothing of it is bnn_train's. Run by bench_train.py with one JSON argument; prints one JSON line.
"""

import json
import resource
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

WARM_UP = 3  # steps of each epoch that are not timed


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * (x.abs() <= 1).float()


class Binarize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Sign.apply(x)


class BinaryLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, Sign.apply(self.weight))


class BinaryConv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, Sign.apply(self.weight), stride=self.stride, padding=self.padding)


class Shortcut(nn.Module):
    """BN(conv(sign(x))) + x; where the channels double, the image halves, and x goes through a mean, a real 1x1 conv and BN."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        stride = 1 if n_in == n_out else 2
        self.layers = nn.Sequential(Binarize(), BinaryConv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out))
        self.past = nn.Sequential()
        if stride == 2:
            self.past = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.past(x)


def resnet20(channels: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)]
    width = 16
    for n_out in [16] * 6 + [32] * 6 + [64] * 6:
        layers.append(Shortcut(width, n_out))
        width = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def network(name: str, shape: list[int], classes: int, stages: list[list[int]], hidden: list[int], dropout: float) -> nn.Sequential:
    """The order of the layers of bnn_train's mlp and cnn, vgg_small and resnet20; the last two are always of one size."""
    if name == "resnet20":
        return resnet20(shape[0], classes)
    first: type[nn.Conv2d] = BinaryConv2d
    if name == "vgg_small":
        first, stages, hidden = nn.Conv2d, [[128, 128], [256, 256], [512, 512]], []
    channels, side = shape[0], shape[1]
    layers: list[nn.Module] = []
    for stage in stages:
        for i, width in enumerate(stage, start=1):
            conv = BinaryConv2d if layers else first
            layers += [Binarize()] * bool(layers) + [conv(channels, width, 3, padding=1, bias=False)]
            channels = width
            if i == len(stage):
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers.append(nn.BatchNorm2d(width))
    layers.append(nn.Flatten())
    size = channels * side * side
    for i, width in enumerate(hidden, start=1):
        layers += [Binarize()] * (len(layers) > 1) + [BinaryLinear(size, width, bias=False)]
        layers += [nn.Dropout(dropout)] * (i == len(hidden) and dropout > 0) + [nn.BatchNorm1d(width)]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, classes))


def image_sets(job: dict[str, Any]) -> tuple[Any, Any]:
    normalise = [transforms.ToTensor(), transforms.Normalize(job["mean"], job["std"])]
    augment: list[Any] = [transforms.RandomCrop(job["shape"][1], padding=job["crop_padding"])] if job["crop_padding"] else []
    augment += [transforms.RandomHorizontalFlip()] * job["flip"]
    train, test = transforms.Compose([*augment, *normalise]), transforms.Compose(normalise)
    if job["data"] == "mnist":
        return datasets.MNIST(job["root"], True, train), datasets.MNIST(job["root"], False, test)
    if job["data"] == "cifar10":
        return datasets.CIFAR10(job["root"], True, train), datasets.CIFAR10(job["root"], False, test)
    # A folder of small image files: read once, as torchvision's CIFAR10 holds its images, so that no time goes into opening files.
    loaded = []
    for part, transform in (("train", train), ("test", test)):
        folder = datasets.ImageFolder(f"{job['root']}/{part}")
        loaded.append(InMemory([(image.copy(), label) for image, label in folder], transform))
    return loaded[0], loaded[1]


class InMemory(torch.utils.data.Dataset):
    def __init__(self, images: list[tuple[Any, int]], transform: Any) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        return self.transform(image), label


def main(job: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(job["seed"])
    train_set, test_set = image_sets(job)
    train = DataLoader(train_set, job["batch_size"], shuffle=True, drop_last=True, num_workers=job["workers"])
    test = DataLoader(test_set, job["batch_size"], num_workers=job["workers"])
    model = network(job["model"], job["shape"], job["classes"], job["stages"], job["hidden"], job["dropout"])
    optimizer = torch.optim.Adam(model.parameters(), lr=job["lr"])
    latent = [m.weight for m in model.modules() if isinstance(m, BinaryLinear | BinaryConv2d)]
    seconds, steps = 0.0, 0
    profiler = torch.profiler.profile() if job["profile"] else None
    for _ in range(job["epochs"]):
        model.train()
        for step, (x, y) in enumerate(train, start=1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if job["clip"] is not None:
                for weight in latent:
                    weight.data.clamp_(-job["clip"], job["clip"])
            loss.item()
            if step == WARM_UP:
                start = time.perf_counter()
                if profiler:
                    profiler.start()
            if step == job["steps"]:
                break
        seconds, steps = seconds + time.perf_counter() - start, steps + step - WARM_UP
    if profiler:
        profiler.stop()
        return {"operations": {e.key: e.self_cpu_time_total / 1e6 for e in profiler.key_averages()}}
    model.eval()
    correct, start = 0, time.perf_counter()
    with torch.no_grad():
        for x, y in test:
            correct += (model(x).argmax(1) == y).sum().item()
    return {
        "seconds_per_step": seconds / steps,
        "evaluation_seconds": time.perf_counter() - start,
        "accuracy": correct / len(test_set),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
