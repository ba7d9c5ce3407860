"""How the time of a step grows with processes: one of one thread beside two of one thread each, and what a model says of more.

    OMP_NUM_THREADS=1 python scripts/bench_ranks.py
    python scripts/bench_ranks.py --override model.hidden=[2048,2048] --batch 1000

For each network, medians over steps: of one process with the whole batch and with half of it, of two processes, and the part of
their step that lies in messages, the waiting for each other included. Then the model: a step of n processes takes the time of
one with the n-th part of the batch, a latency for each message, and 2 (n - 1) / n of the bytes by the link's rate; nothing
overlaps. Latency and rate are measured between the two processes alone.
"""

import statistics
import time
from typing import Any

import launching
import usage

NETWORKS = {
    "mlp 64, 64": ["model.hidden=[64,64]"],
    "mlp 1024, 1024": ["model.hidden=[1024,1024]"],
    "cnn": ["model=cnn", "model.stages=[[32,32],[64,64]]"],
}


def steps(overrides: list[str], batch: int, count: int) -> dict[str, float]:
    """Medians of a step and of its messages in seconds, how many these are, and their bytes."""
    import torch
    import torch.distributed as dist

    from bnn_train.cli.compose import typed
    from bnn_train.data.splits import Data, Split
    from bnn_train.runs.assemble import assemble
    from bnn_train.training.trainer import Trainer

    begun = [0.0]
    of_steps: list[float] = []
    messages: list[tuple[float, int]] = []
    summed: list[tuple[float, float, float]] = []

    def after_step(trainer: Any) -> None:
        of_steps.append(time.perf_counter() - begun[0])
        summed.append((sum(seconds for seconds, _ in messages), len(messages), sum(size for _, size in messages)))
        messages.clear()
        begun[0] = time.perf_counter()

    def timed(collective: Any) -> Any:
        def call(tensor: Any, *more: Any) -> Any:
            start = time.perf_counter()
            result = collective(tensor, *more)
            own = tensor if isinstance(tensor, torch.Tensor) else more[0]  # a gather's first argument is what it fills
            messages.append((time.perf_counter() - start, own.numel() * own.element_size()))
            return result

        return call

    before = dist.all_reduce, dist.all_gather

    config = typed([*overrides, f"trainer.batch_size={batch}", "trainer.epochs=1000"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count * batch, 1, 8, 8), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.randint(0, 10, (len(images),), generator=generator))
    data = Data(split, None, split, [str(i) for i in range(10)])
    cpu = torch.device("cpu")
    trainer = Trainer(config, *assemble(config, data, cpu), data, after_step)
    dist.all_reduce, dist.all_gather = (timed(each) for each in before)
    try:
        trainer.train_epoch()
    finally:
        dist.all_reduce, dist.all_gather = before
    warm = count // 5
    seconds, number, size = (statistics.median(values) for values in zip(*summed[warm:], strict=True))
    found = {"step": statistics.median(of_steps[warm:]), "sent": seconds, "messages": number, "bytes": size}
    return found | {"parameters": sum(parameter.numel() for parameter in trainer.model.parameters())}


def link(size: int, count: int) -> tuple[float, float]:
    """(seconds of a message of one number, seconds of one of `size` bytes), medians between processes that do nothing else."""
    import torch
    import torch.distributed as dist

    def median(tensor: torch.Tensor) -> float:
        times = []
        for _ in range(count):
            start = time.perf_counter()
            dist.all_reduce(tensor)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    return median(torch.zeros(1)), median(torch.zeros(size // 4))


def one(overrides: list[str], batch: int, count: int) -> list[dict[str, float]]:
    return [steps(overrides, batch // n, count) for n in (1, 2, 4, 8)]


def two(overrides: list[str], batch: int, count: int) -> dict[str, Any]:
    found = steps(overrides, batch, count)
    return {**found, "link": link(int(found["bytes"]), count)}


def predicted(n: int, alone: float, messages: float, latency: float, size: float, rate: float) -> float:
    """Seconds of a step. alone: of one process with the n-th part of the batch. latency: of a message between two processes; of n
    it takes 2 (n - 1) turns instead of 2. rate: bytes a second."""
    return alone + messages * latency * (n - 1) + 2 * (n - 1) / n * size / rate


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--override", action="append", default=[], help="of one network instead of the three")
    parser.add_argument("--batch", type=int, default=200, help="the whole batch (default: 200)")
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    networks = {" ".join(arguments.override): arguments.override} if arguments.override else NETWORKS
    for name, overrides in networks.items():
        alone = launching.results(1, one, overrides, arguments.batch, arguments.steps)
        pair = launching.results(2, two, overrides, arguments.batch, arguments.steps)
        latency, whole = pair["link"]
        rate = pair["bytes"] / max(whole - latency, 1e-9)
        print(
            f"{name}: {alone[0]['parameters']:,} parameters, {pair['bytes']:,.0f} bytes in {pair['messages']:.0f} messages a step; "
            f"a message takes {1e6 * latency:.0f} µs, {rate / 1e9:.2f} GB are summed a second"
        )
        print(
            f"  one process {1e3 * alone[0]['step']:.2f} ms, with half the batch {1e3 * alone[1]['step']:.2f} ms; two processes "
            f"{1e3 * pair['step']:.2f} ms, of which {pair['sent'] / pair['step']:.0%} in messages"
        )
        said = [
            f"{n}: {1e3 * predicted(n, each['step'], pair['messages'], latency, pair['bytes'], rate):.2f} ms"
            for n, each in zip((2, 4, 8), alone[1:], strict=True)
        ]
        print(f"  the model, as many processors given: {', '.join(said)}")


if __name__ == "__main__":
    main()
