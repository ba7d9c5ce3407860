"""How often a study of equal methods calls one of them worse than the best: drawn accuracies through the table of bnn-study."""

import argparse
import random

from bnn_train.report import study

STUDIES, IMAGES = 1500, 359
MEAN, DEVIATION = 0.95, 0.01  # of a run's accuracy


def drawn(methods: int, seeds: int, generator: random.Random) -> dict[str, object]:
    """A study whose methods differ in nothing."""

    def run() -> dict[str, object]:
        accuracy = round(IMAGES * min(1.0, generator.gauss(MEAN, DEVIATION))) / IMAGES
        return {"status": "finished", "test_accuracy": accuracy, "images": {"test": IMAGES}, "seconds": 1.0, "network": {}}

    return {"rows": [{"name": str(number), "twin": "twin", "runs": [run() for _ in range(seeds)]} for number in range(methods)]}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    generator = random.Random(0)
    print(f"of 100 studies of equal methods, those that call one worse ({STUDIES:,} drawn of each kind)")
    for methods in (2, 3, 5, 9):
        for seeds in (3, 5):
            studies = (study.figures(drawn(methods, seeds, generator)) for _ in range(STUDIES))
            wrong = sum(any(row.standing == study.WORSE for row in rows) for rows in studies)
            print(f"{methods} methods, {seeds} seeds: {100 * wrong / STUDIES:.1f}")


if __name__ == "__main__":
    main()
