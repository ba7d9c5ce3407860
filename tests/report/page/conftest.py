"""Run directories as a run leaves them, written and not trained."""

import json

import numpy as np
import pytest


def layers(count):
    """network.json of binary layers and the last, real one."""
    one = {"kind": "BinaryLinear", "output_shape": [8], "parameters": 64, "binary_weights": 64, "weight_bits": 1, "input_bits": 1}
    one |= {"binary_macs": 64, "real_macs": 0, "bytes": 8}
    last = {**one, "name": "output", "kind": "Linear", "binary_weights": 0, "weight_bits": 32, "binary_macs": 0, "real_macs": 64}
    return [*({**one, "name": f"layer{i}"} for i in range(1, count + 1)), {**last, "bytes": 256}]


def config(overrides, data="digits"):
    """config.yaml, from what was typed: each value as it is, below its key's last word."""
    lines = [f"data: {{name: {data}, root: /home/somebody/data}}", "resume: null"]
    typed = dict(pair.split("=", 1) for pair in overrides)
    typed = {"seed": "0", "ste": "tanh", "lr": "0.01", **typed}
    lines += [f"{key}: {value}" if key in ("seed", "lr") else f'{key}: {{name: "{value}"}}' for key, value in typed.items()]
    return "\n".join(lines) + "\n"


@pytest.fixture
def write_run():
    """write_run(folder, overrides, ...) makes the directory of a run; whatever is None is not there."""

    def write(
        folder,
        overrides=(),
        accuracy=0.9,
        epochs=3,
        classes=("a", "b", "c"),
        splits=("train", "test"),
        health=2,
        images=(1, 8, 8),
        data="digits",
        finished=True,
        **summary,
    ):
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {each}\n" for each in overrides) or "[]\n")
        (folder / ".hydra" / "config.yaml").write_text(config(overrides, data))
        (folder / "network.json").write_text(json.dumps(layers(health or 1)))
        rows, health_rows, times = [], [], []
        for epoch in range(1, epochs + 1):
            loss, share = 2 / epoch, accuracy * epoch / epochs
            rows.append({"epoch": epoch, "lr": 0.1, **{f"{split}_loss": loss for split in splits}})
            rows[-1] |= {f"{split}_accuracy": share for split in splits}
            figures = {"flipped": 0.5 / epoch, "never_moved": 0.5, "gradient": 1e-3}
            health_rows.append({"epoch": epoch, "layers": {f"layer{i}": figures for i in range(1, (health or 0) + 1)}})
            times.append({"epoch": epoch, "images": 100, "seconds": 0.5})
        for name, lines in (("metrics", rows), ("times", times), *([("health", health_rows)] if health else [])):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        if not finished:
            return folder
        count = len(classes)
        labels = np.arange(10 * count) % count
        scores = np.eye(count)[labels] * 5
        wrong = np.arange(0, 10 * count, 7)
        scores[wrong] = np.eye(count)[(labels[wrong] + 1) % count] * (9 + wrong[:, None] % 5)
        surest = wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")][:24]
        kept = {"wrong": np.full((len(surest), *images), 200, np.uint8), "wrong_index": surest} if images else {}
        np.savez_compressed(
            folder / "predictions.npz", scores=scores.astype(np.float32), labels=labels, classes=np.array(classes), **kept
        )
        content = {
            "status": "finished",
            **{f"{split}_accuracy": accuracy for split in splits},
            "kind": "last",
            "epoch": epochs,
            "step": 0,
        }
        content |= {
            "chosen": f"epoch {epochs}, the last",
            "checkpoint": "checkpoints/result.pt",
            "seconds": 2.0,
            "device": "cpu x86_64",
        }
        content |= {"images_per_second": 1234.5, "precision": "float32", "versions": {"torch": "2.6.0"}, "notes": [], **summary}
        (folder / "summary.json").write_text(json.dumps(content))
        return folder

    return write
