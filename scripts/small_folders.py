"""What experiment=photos gives on small folders of drawn shapes: python scripts/small_folders.py [FOLDER] [SEEDS]

For each number of pictures a class: `bnn-train experiment=photos` with that many seeds, all pictures but the default share for
the test set, then `bnn-eval` on 1,000 other pictures of each class. Prints mean, deviation, n and the time of a training. The first
row is what the network would be without the recipe (`model=cnn`), the second the recipe with a plain first layer.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from draw_shapes import draw_folder

SEEDS = 3
SETTINGS = {
    "model=cnn": ["model=cnn", "data=image_folder", "data.image_size=64", "trainer.batch_size=20", "trainer.epochs=80"],
    "photos, real": ["experiment=photos", "model.stem=real"],
    "photos": ["experiment=photos"],
}
COUNTS = (60, 200)
OTHERS = 1_000  # pictures of each class, drawn with another seed


def main(folder: Path, seeds: int) -> None:
    draw_folder(folder / "others", OTHERS, seed=77)
    print(f"{'':12}pictures a class  test accuracy    n  seconds a training")
    for count in COUNTS:
        draw_folder(folder / f"of{count}", count, seed=0)
        for name, setting in SETTINGS.items():
            found, times = zip(*(_one(folder, count, setting, seed) for seed in range(seeds)), strict=True)
            mean = f"{statistics.mean(found):.2%}" + (f" ± {statistics.stdev(found):.2%}" if seeds > 1 else "")
            print(f"{name:12}{count:16}  {mean:15} {seeds:2}  {statistics.median(times):.0f}", flush=True)


def _one(folder: Path, count: int, setting: list[str], seed: int) -> tuple[float, float]:
    """Accuracy on the other pictures, and seconds that the whole training command took."""
    run = folder / f"{'-'.join(setting[:2]).replace('=', '')}-{count}-{seed}"
    start = time.perf_counter()
    command = ["bnn-train", *setting, f"data.root={folder / f'of{count}'}", f"seed={seed}", f"hydra.run.dir={run}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    found = subprocess.run(
        ["bnn-eval", str(run), "--data-root", str(folder / "others"), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(found.stdout)["test_accuracy"], seconds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as aside:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(aside), int(sys.argv[2]) if len(sys.argv) > 2 else SEEDS)
