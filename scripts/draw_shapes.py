"""Draws a small folder of pictures to try things on, a folder for each class: python scripts/draw_shapes.py FOLDER [COUNT] [SEED]

Colour JPEG files of 64x48 pixels with a disc, a square or a triangle of any colour, size, place and turn on an even, noisy ground.
Neither colour nor brightness says which it is: what has to be learned is the outline.
"""

import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

WIDTH, HEIGHT, FINER = 64, 48, 4  # drawn at four times the size: even edges
CORNERS = {"disc": 48, "square": 4, "triangle": 3}


def picture(corners: int, draw: random.Random) -> Image.Image:
    ground, ink = _colours(draw)
    radius = draw.uniform(12, 20)
    x, y = draw.uniform(radius, WIDTH - radius), draw.uniform(radius, HEIGHT - radius)
    turn = draw.uniform(0, math.tau)
    angles = [turn + math.tau * i / corners for i in range(corners)]
    points = [(FINER * (x + radius * math.cos(angle)), FINER * (y + radius * math.sin(angle))) for angle in angles]
    image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), ground)
    ImageDraw.Draw(image).polygon(points, fill=ink)
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    noise = Image.frombytes("L", (WIDTH, HEIGHT), bytes(min(255, max(0, round(draw.gauss(128, 8)))) for _ in range(WIDTH * HEIGHT)))
    return ImageChops.add(image, Image.merge("RGB", [noise] * 3), offset=-128)


def _colours(draw: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two that can be told apart."""
    while True:
        ground, ink = (tuple(draw.randrange(256) for _ in range(3)) for _ in range(2))
        if sum(abs(a - b) for a, b in zip(ground, ink, strict=True)) >= 150:
            return ground, ink


def draw_folder(folder: Path, count: int, seed: int) -> None:
    """`count` pictures of each class in `folder`, the same ones for the same seed."""
    for name, corners in CORNERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        draw = random.Random(f"{name} {seed}")
        for number in range(count):
            picture(corners, draw).save(folder / name / f"{number:04}.jpg", quality=90)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all(word.isdecimal() for word in sys.argv[2:]):
        sys.exit(__doc__)
    numbers = [int(word) for word in sys.argv[2:4]]
    count, seed = [*numbers, *(60, 0)[len(numbers) :]]
    draw_folder(Path(sys.argv[1]), count, seed)
    print(f"{sys.argv[1]}: {count} pictures each of {', '.join(CORNERS)}")
