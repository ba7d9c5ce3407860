import csv
import io
import json
from types import SimpleNamespace

import pytest

from bnn_train.report import predictions

CLASSES = ["cat", "dog", "hedgehog"]


def of(file, *probabilities):
    ranking = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
    return SimpleNamespace(file=file, ranking=ranking, probabilities=probabilities)


TWO = [of("photos/1.png", 0.75, 0.25, 0.0), of("2.png", 0.0, 0.0, 1.0)]


def test_the_table_has_a_row_for_each_image():
    assert predictions.table(TWO, CLASSES, 1).splitlines() == [
        "file          class     probability",
        "─────────────────────────────────────────────────────────",
        "photos/1.png  cat            75.00%  ███████████████",
        "2.png         hedgehog      100.00%  ████████████████████",
    ]


def test_the_most_probable_classes_stand_below_each_other():
    rows = predictions.table(TWO, CLASSES, 2).splitlines()[2:]
    assert [row.split()[:2] for row in rows] == [
        ["photos/1.png", "cat"],
        ["dog", "25.00%"],
        ["2.png", "hedgehog"],
        ["cat", "0.00%"],
    ]
    assert predictions.table(TWO, CLASSES, 9) == predictions.table(TWO, CLASSES, 3)


@pytest.mark.parametrize("width", [40, 50, 60, 80, 120])
@pytest.mark.parametrize(("name", "with_bar"), [("1.png", 50), ("photos/of_last_year/in_the_mountains/IMG_2024_07_21.png", 120)])
def test_the_table_fits_into_the_width_and_the_bar_is_left_out_first(columns, width, name, with_bar):
    columns(width)
    lines = predictions.table([of(name, 0.5, 0.3, 0.2), *TWO], CLASSES, 3).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("probability" in line for line in lines) == 1  # it does not go on below itself
    assert ("█" in "".join(lines)) == (width >= with_bar)


def test_json_is_one_array_with_an_object_on_each_line():
    text = predictions.as_json(TWO, CLASSES, 2)
    assert len(text.splitlines()) == 4
    assert json.loads(text)[0] == {
        "file": "photos/1.png",
        "class": "cat",
        "index": 0,
        "probability": 0.75,
        "top": [{"class": "cat", "index": 0, "probability": 0.75}, {"class": "dog", "index": 1, "probability": 0.25}],
    }
    assert json.loads(predictions.as_json([], CLASSES, 2)) == []


def test_csv_has_the_probability_of_each_class():
    rows = list(csv.DictReader(io.StringIO(predictions.as_csv([of("a, b.png", 0.25, 0.75)], ["file", "x y"]))))
    assert rows == [
        {"file": "a, b.png", "class": "x y", "probability": "0.75", "probability_file": "0.25", "probability_x y": "0.75"}
    ]
