"""How fast images come, and how much memory they take, where they stay on the disk (`data.memory=disk`): one to three minutes.

    python scripts/bench_data.py                  # 1 GB of decoded images
    python scripts/bench_data.py --gigabytes 8    # more than most machines' memory would hold beside a training
    python scripts/bench_data.py --images 50000 --size 64
    python scripts/bench_data.py --folder DISK    # where the images are made, and deleted again

Makes JPEGs at random, as large as photos that were made smaller for the web, decodes them into the cache, and gives random batches
of them: from memory (0.5 GB of them), from the cache on disk, where the system holds it in memory and where it does not; and
decodes some JPEGs again. Then a small network is trained on them for --steps steps, and says how long it waited for images.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import benching
import numpy as np
from PIL import Image

from bnn_train import startup

CLASSES, TEST = 10, 0.02
BATCH, TRAINED = 128, 32  # images at a time; of the network too, which needs far more memory for each than its pixels take
IN_MEMORY = 0.5e9  # bytes


def pixels(size: int) -> int:
    """Bytes of a decoded image."""
    return 3 * size * size


def draw(job: tuple[str, int, int, int]) -> int:
    """Writes the JPEGs of the numbers first to last: coarse and fine noise, so that they take about as many bytes as photos.

    400x300 where images are decoded to 224x224, and in proportion.
    """
    folder, size, first, last = job
    shape = (round(size * 400 / 224), round(size * 300 / 224))
    for number in range(first, last):
        generator = np.random.default_rng(number)
        image = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(shape, Image.Resampling.BICUBIC)
        fine = Image.fromarray(generator.integers(0, 256, (75, 100), dtype=np.uint8)).resize(shape).convert("RGB")
        Image.blend(image, fine, 0.15).save(f"{folder}/{number % CLASSES}/{number}.jpg", quality=85)
    return last - first


def draw_all(folder: Path, count: int, size: int) -> int:
    """Bytes of so many JPEGs in CLASSES folders."""
    for number in range(CLASSES):
        (folder / str(number)).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, [(str(folder), size, first, min(first + 200, count)) for first in range(0, count, 200)]))
    return sum(file.stat().st_size for file in folder.rglob("*.jpg"))


def overrides(folder: Path, size: int) -> list[str]:
    paths = [f"data.root={folder / 'images'}", f"data.cache_dir={folder / 'cache'}"]
    plain = ["data.crop_padding=0", "data.flip=false", f"data.test_fraction={TEST}", "data.memory=disk"]
    small = ["model=cnn", "model.stages=[[8,8]]", "model.hidden=[]", "model.head=average", "optimizer=sgd"]
    return ["data=image_folder", f"data.image_size={size}", *paths, *plain, *small]


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Within, the most memory of this process in GB: "anonymous", its own, and "total", with the files that are mapped."""
    found, over = {"anonymous": 0.0, "total": 0.0}, threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
            for name, key in (("anonymous", "RssAnon"), ("total", "VmRSS")):
                found[name] = max(found[name], int(lines[key].split()[0]) * 1024 / 1e9)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def load(folder: Path, size: int) -> Any:
    import torch

    from bnn_train.cli import compose
    from bnn_train.runs import assemble

    config = compose.typed(overrides(folder, size))
    return config, assemble.load_data(config, torch.device("cpu"))


def first(folder: Path, size: int) -> dict[str, Any]:
    """Decodes into the cache."""
    with watched() as memory:
        begin = time.perf_counter()
        load(folder, size)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, **memory}


def again(folder: Path, size: int) -> dict[str, Any]:
    """Starts from the cache, and gives all images in random batches."""
    import torch

    from bnn_train.data.batches import train_batches
    from bnn_train.data.decode import decode

    with watched() as memory:
        begin = time.perf_counter()
        config, data = load(folder, size)
        found = {"start": time.perf_counter() - begin}
        images = data.train.images
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))

        def speed(batches: Iterator[Any], count: int) -> float:
            begin = time.perf_counter()
            for _ in batches:
                pass
            return count / (time.perf_counter() - begin)

        descriptor = os.open(images.file.path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        found["anew"] = speed(images.ahead(order.split(BATCH)), len(images))
        found["disk"] = speed(images.ahead(order.split(BATCH)), len(images))
        some = len(images) // BATCH * BATCH
        found["prepared"] = speed(train_batches(data.train, config.data, BATCH, 0, 0), some)
    found |= memory
    some = min(int(IN_MEMORY) // pixels(size), len(images))
    held, order = images[:some], torch.randperm(some, generator=torch.Generator().manual_seed(0))
    found["memory"] = speed((held[each] for each in order.split(BATCH)), some)
    files = [folder / "images" / name for name in data.train.names[:300]]
    found["jpeg"] = speed((decode(file, (size, size)) for file in files), len(files))
    return found


def train(folder: Path, size: int, steps: int) -> dict[str, Any]:
    """A small network for so many steps."""
    from bnn_train.cli import compose
    from bnn_train.runs import run

    limits = [
        f"trainer.max_steps={steps}",
        "data.test_limit=100",
        f"trainer.eval_batch_size={TRAINED}",
        f"trainer.batch_size={TRAINED}",
    ]
    with watched() as memory:
        summary = run.run(compose.typed([*overrides(folder, size), *limits]), folder / "run")
    return {"waited": summary["share_waited"], "images": summary["images_per_second"], **memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of decoded images; with their JPEGs a fifth more on the disk")
    parser.add_argument("--images", type=int, help="their number, instead of --gigabytes")
    parser.add_argument("--size", type=int, default=224, help="side of the decoded images, in pixels")
    parser.add_argument("--folder", type=Path, help="the temporary folder is made in it")
    parser.add_argument("--steps", type=int, default=100, help="of the training")
    parser.add_argument("--part", choices=["first", "again", "train"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        startup.prepare()
        parts = {"first": first, "again": again, "train": lambda folder, size: train(folder, size, arguments.steps)}
        print(json.dumps(parts[arguments.part](arguments.folder, arguments.size)))
        return
    size = arguments.size
    count = arguments.images or int(arguments.gigabytes * 1e9) // pixels(size)
    folder = Path(tempfile.mkdtemp(prefix="bench_data", dir=arguments.folder))
    try:
        print(benching.machine())
        begin = time.perf_counter()
        drawn = draw_all(folder / "images", count, size)
        taken = time.perf_counter() - begin
        print(f"{count:,} images of {size}x{size}, {count * pixels(size) / 1e9:.1f} GB, of JPEGs of {drawn / count / 1e3:.0f} kB")
        print(f"(drawn in {taken:.0f} s)", flush=True)

        def part(name: str) -> dict[str, Any]:
            options = ("--part", name, "--folder", str(folder), "--size", str(size), "--steps", str(arguments.steps))
            return benching.in_process(sys.executable, "bench_data.py", *options)

        made = part("first")
        print(f"decoded once on all cores: {count / made['seconds']:,.0f} images a second, {made['seconds']:.0f} s", flush=True)
        found = part("again")
        print(f"a start from the cache: {found['start']:.1f} s")
        print("images a second, batches in random order:")
        for key, name in (
            ("memory", "from memory"),
            ("disk", "from the cache on disk, as the system holds it"),
            ("anew", "from the cache on disk, read anew"),
            ("prepared", "the same as training prepares them, normalised"),
            ("jpeg", "from JPEG, one core"),
        ):
            print(f"  {name:<50}{found[key]:>8,.0f}", flush=True)
        trained = part("train")
        print(f"a training of {trained['images']:,.0f} images a second waited {trained['waited']:.1%} of its time for them")
        print("resident memory at most, GB:        anonymous  total")
        for name, of in (("decoding (this process alone)", made), ("reading all images", found), ("training", trained)):
            print(f"  {name:<36}{of['anonymous']:>7.2f}{of['total']:>7.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
