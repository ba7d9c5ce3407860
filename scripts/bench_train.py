"""How fast training is: the classic loop (classic_loop.py) and bnn_train's trainer in turns, on the same data, network and batch.

    python scripts/bench_train.py mnist_mlp --data DATA                          # one epoch of each, five rounds
    python scripts/bench_train.py mnist_mlp --data DATA --epochs 3               # with the accuracy after three
    python scripts/bench_train.py cifar10_cnn --data CIFAR --folder --steps 40   # CIFAR-10 as image files; 40 steps an epoch
    python scripts/bench_train.py resnet20 --data CIFAR --folder --steps 40      # a network of model=..., trained as cifar10_cnn is
    python scripts/bench_train.py mnist_mlp --data DATA --isa avx2               # everybody kept to AVX2
    python scripts/bench_train.py mnist_mlp --data DATA --peer-python ENV/bin/python   # also larq or bitorch, where ENV has them

Each run is a process of its own, and round i has seed i. Prints medians, ratios to the classic loop within a round, and what share
of the time torch's matrix products take; `--json FILE` writes all of it. The learning rate is constant on both sides.

--isa avx2 stands in for a processor with AVX2 alone on one that has more: a hint at what such a one would give.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import usage
from benching import in_process, keep_to, machine

from bnn_train import startup
from bnn_train.cli.compose import typed
from bnn_train.data.augment import crop_padding

WARM_UP = 3  # steps that are not timed: the first ones ask for memory
CIFAR = ["data=cifar10", "optimizer.lr=0.003", "trainer.batch_size=128", "trainer.eval_batch_size=250"]  # as in cifar10_cnn
# The script that is measured against has no schedule, and on MNIST no shifted images and free latent weights.
NETWORKS = {
    "mnist_mlp": ["experiment=mnist_mlp", "data.crop_padding=0", "model.dropout=0.5", "weights.clip=null", "optimizer.lr=0.01"],
    "cifar10_cnn": ["experiment=cifar10_cnn"],
    "resnet20": ["model=resnet20", *CIFAR],
    "vgg_small": ["model=vgg_small", *CIFAR],
}
STEP = "trainer.step=kernels"  # as the rule has it for a training of full length
VARIANTS = {
    "float32": ["trainer.precision=float32", STEP],
    "fast": ["trainer.precision=fast", STEP],
    "torch's step": ["trainer.step=torch"],
    "compiled": ["trainer.compile=true"],
}
PRODUCTS = (  # torch's matrix products
    *("aten::mm", "aten::addmm", "aten::convolution_backward", "aten::mkldnn_convolution"),
)


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """What classic_loop.main measures, of bnn_train: the trainer itself, without files."""
    startup.prepare()
    keep_to(job["isa"])
    import resource

    import torch

    from bnn_train import device
    from bnn_train.data import datasets
    from bnn_train.data.splits import Data, Split
    from bnn_train.runs.assemble import assemble
    from bnn_train.training.evaluation import evaluate
    from bnn_train.training.trainer import Trainer

    config = typed(job["overrides"])
    data = datasets.load(config.data, device.choose("cpu"))
    if job["steps"]:
        some = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
        some = some[: job["steps"] * config.trainer.batch_size]
        data = Data(Split(data.train.images[some], data.train.labels[some]), None, data.test, data.classes)
    assembly = assemble(config, data, data.train.labels.device)
    marks: list[float] = []
    profiler = torch.profiler.profile() if job["profile"] else None

    def after_step(trainer: Trainer) -> None:
        if trainer.step in (WARM_UP, trainer.steps):
            marks.append(time.perf_counter())
            if profiler and trainer.step == WARM_UP:
                profiler.start()

    trainer = Trainer(config, *assembly, data, after_step)
    if profiler:
        trainer.train_epoch()
        profiler.stop()
        operations = {e.key: e.self_cpu_time_total / 1e6 for e in profiler.key_averages()}
        return {"operations": operations}
    for _ in range(config.trainer.epochs):
        trainer.train_epoch()
        trainer.history.append({})
        trainer.step = 0
    start = time.perf_counter()
    accuracy = evaluate(assembly.model, data.test, config)["accuracy"]
    seconds = sum(marks[1::2]) - sum(marks[::2])
    return {
        "seconds_per_step": seconds / (config.trainer.epochs * (trainer.steps - WARM_UP)),
        "evaluation_seconds": time.perf_counter() - start,
        "accuracy": accuracy,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def jobs(options: argparse.Namespace, seed: int, profile: bool = False) -> dict[str, dict[str, Any]]:
    """The jobs of one round, by name: that of the classic loop, and bnn_train's."""
    base = list(NETWORKS[options.network])
    if options.folder:
        base = [override for override in base if not override.startswith("data=")]
        base += ["data=image_folder", "data.mean=[0.4914,0.4822,0.4465]", "data.std=[0.247,0.2435,0.2616]"]
    base += [f"data.root={options.data}", f"seed={seed}"]
    base += [f"trainer.epochs={options.epochs}", "scheduler=constant", *options.override]
    config = typed(base)
    shape = (1, 28, 28) if config.data.name == "mnist" else (3, 32, 32)
    limits = {"steps": options.steps or (40 if profile else 0), "profile": profile, "isa": options.isa}
    classic = {
        "data": config.data.name,
        "root": str(options.data),
        "shape": shape,
        "classes": 10,
        "model": config.model.name,
        **{key: getattr(config.model, key, none) for key, none in (("stages", []), ("hidden", []), ("dropout", 0))},
        "lr": config.optimizer.lr,
        "clip": config.weights.clip,
        "workers": options.workers,
        "epochs": 1 if profile else options.epochs,
        **{key: getattr(config.data, key) for key in ("mean", "std", "flip")},
        "crop_padding": crop_padding(config.data, shape),
        "batch_size": config.trainer.batch_size,
        "seed": seed,
        **limits,
    }
    mine = {name: {"overrides": base + VARIANTS[name], **limits} for name in options.variants}
    return {"classic": classic, **mine}


def run_job(name: str, job: dict[str, Any]) -> dict[str, Any]:
    if name == "classic":
        return in_process(sys.executable, "classic_loop.py", json.dumps(job), isa=job["isa"])
    return in_process(sys.executable, "bench_train.py", "--worker", json.dumps(job), isa=job["isa"])


def product_seconds(name: str, job: dict[str, Any]) -> float:
    """In one step. The profiler slows down the rest, so only the products' own time is taken from it."""
    operations = run_job(name, job)["operations"]
    return sum(seconds for key, seconds in operations.items() if key in PRODUCTS) / (job["steps"] - WARM_UP)


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument(
        "--data", type=Path, required=True, help="where torchvision finds its files, or with --folder train/ and test/"
    )
    parser.add_argument("--folder", action="store_true", help="the images are files in train/<class>/ and test/<class>/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="of an epoch, more than 3; default: all")
    parser.add_argument("--workers", type=int, help="of the classic DataLoader; default: 0 for mnist_mlp, else 2")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["float32", "fast"])
    parser.add_argument("--override", action="append", default=[], help="as in model.hidden=[512,512]")
    parser.add_argument("--peer-python", metavar="PYTHON", help="an interpreter that has larq or bitorch (mnist_mlp)")
    parser.add_argument("--isa", choices=["avx2"], help="keep every library to this instruction set")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.rounds < 1 or options.epochs < 1 or 0 < options.steps <= WARM_UP:
        parser.error(f"--rounds and --epochs must be at least 1, --steps above {WARM_UP}: so many are not timed")
    if options.isa and options.peer_python:
        parser.error("--isa cannot keep a peer to an instruction set: leave out --peer-python")
    needed = options.data / (
        "train" if options.folder else "MNIST/raw" if options.network == "mnist_mlp" else "cifar-10-batches-py"
    )
    if not needed.is_dir():
        parser.error(f"--data {options.data}: there is no {needed}; nothing is downloaded here, bnn-train data=... does it")
    options.data = options.data.resolve()
    if options.workers is None:
        options.workers = 0 if options.network == "mnist_mlp" else 2

    rounds: list[dict[str, dict[str, Any]]] = []
    for seed in range(options.rounds):
        todo = jobs(options, seed)
        rounds.append({})
        for name, job in todo.items():
            rounds[-1][name] = run_job(name, job)
            print(f"round {seed + 1}, {name}: {describe(rounds[-1][name])}", flush=True)
        if options.peer_python:
            rounds[-1]["peer"] = in_process(options.peer_python, "bench_peer.py", json.dumps(todo["classic"]))
            print(f"round {seed + 1}, {rounds[-1]['peer']['name']}: {describe(rounds[-1]['peer'])}", flush=True)
    in_products = {name: product_seconds(name, job) for name, job in jobs(options, 0, profile=True).items()}

    print(f"\n{machine(options.isa)}")
    print(f"{options.network}, {options.rounds} rounds, medians; ratios to the classic loop, with their range")
    table = {}
    for name in rounds[0]:
        runs = [each[name] for each in rounds]
        table[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "name"}
        table[name]["accuracy"] = statistics.mean(run["accuracy"] for run in runs)
        for key in ("seconds_per_step", "evaluation_seconds"):
            ratios = [each[name][key] / each["classic"][key] for each in rounds]
            table[name][f"{key}_ratio"] = [statistics.median(ratios), min(ratios), max(ratios)]
        table[name]["images_per_second"] = todo["classic"]["batch_size"] / table[name]["seconds_per_step"]
        if name in in_products:
            table[name]["product_share"] = in_products[name] / table[name]["seconds_per_step"]
        print(f"{runs[0].get('name', name):>15}: {row(table[name])}")
    if options.json:
        given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        everything = {"options": given, "machine": machine(options.isa), "rounds": rounds, "table": table}
        options.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


def describe(run: dict[str, Any]) -> str:
    return (
        f"{1000 * run['seconds_per_step']:.1f} ms a step, evaluation {run['evaluation_seconds']:.2f} s, "
        f"accuracy {run['accuracy']:.4f}, peak {run['peak_mb']:.0f} MB"
    )


def row(result: dict[str, Any]) -> str:
    ratio, least, most = result["seconds_per_step_ratio"]
    share = f", products {result['product_share']:.0%}" if "product_share" in result else ""
    return (
        f"{describe(result)}, {result['images_per_second']:,.0f} img/s{share}, "
        f"ratio {ratio:.3f} ({least:.3f} to {most:.3f}), evaluation {result['evaluation_seconds_ratio'][0]:.3f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(ours(json.loads(sys.argv[2]))))
    else:
        main()
