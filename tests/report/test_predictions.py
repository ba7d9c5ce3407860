import csv
import io
import json
import re
from types import SimpleNamespace

import pytest

from bnn_train.report import grid, predictions

CLASSES = ["cat", "dog", "hedgehog"]


def of(file, *probabilities):
    ranking = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
    return SimpleNamespace(file=file, ranking=ranking, probabilities=probabilities)


TWO = [of("photos/1.png", 0.75, 0.25, 0.0), of("2.png", 0.0, 0.0, 1.0)]


def table(batches, classes=CLASSES, top=1):
    """The whole table, of batches of predictions."""
    files = [each.file for batch in batches for each in batch]
    return "".join(predictions.table(batches, files, classes, top, "m.bnn"))


def test_the_table_has_a_row_for_each_image():
    assert table([TWO]).splitlines() == [
        "m.bnn",
        "",
        "file          class     probability",
        "─────────────────────────────────────────────────────────",
        "photos/1.png  cat            75.00%  ███████████████",
        "2.png         hedgehog      100.00%  ████████████████████",
    ]


def test_the_rows_of_a_batch_come_when_it_comes_and_all_columns_fit():
    batches = iter([TWO[:1], TWO[1:]])
    lines = predictions.table(batches, ["photos/1.png", "2.png"], CLASSES, 1, "m.bnn")
    assert next(lines).endswith("photos/1.png  cat            75.00%  ███████████████\n")
    assert next(batches) == TWO[1:]
    assert list(lines) == []
    assert table([TWO[:1], TWO[1:]]) == table([TWO])
    assert table([]) == ""


def test_the_most_probable_classes_stand_below_each_other():
    rows = table([TWO], top=2).splitlines()[4:]
    assert [row.split()[:2] for row in rows] == [
        ["photos/1.png", "cat"],
        ["dog", "25.00%"],
        ["2.png", "hedgehog"],
        ["cat", "0.00%"],
    ]
    assert table([TWO], top=9) == table([TWO], top=3)


LONG = "photos/of_last_year/in_the_mountains/on_the_last_day_but_one/IMG_2024_07_21.png"


@pytest.mark.parametrize("width", [40, 59, 60, 80, 120])
@pytest.mark.parametrize("file", ["1.png", LONG, "写真/" * 20 + "1.png", "e\u0301" * 60 + ".png", "a\nb" * 30])
@pytest.mark.parametrize("name", ["cat", "n02123045 tabby, tabby cat of long words and more", "猫" * 40])
def test_file_class_probability_and_a_bar_stand_on_one_line_at_any_width(columns, width, file, name):
    columns(width)
    header, rule, *rows = table([[of(file, 0.5, 0.3, 0.2), *TWO]], [name, *CLASSES[1:]], 3).splitlines()[2:]
    assert len(rows) == 9
    assert max(map(grid.length, (header, rule, *rows))) <= width
    end = header.index("probability") + len("probability")
    for row, share in zip(
        rows, ("50.00%", "30.00%", "20.00%", "75.00%", "25.00%", "0.00%", "100.00%", "0.00%", "0.00%"), strict=True
    ):
        before = row[: row.index(share) + len(share)]
        assert grid.length(before) == end
    assert ("█" in "".join(rows)) or width < predictions.NARROW


def test_names_are_shortened_in_the_middle_and_short_ones_leave_their_room(columns):
    columns(60)
    row = table([[of(LONG, 0.5, 0.3, 0.2)]]).splitlines()[4]
    file, name = row.split()[:2]
    assert (grid.length(file), name) == (30, "cat")
    assert file.startswith("photos/of")
    assert file.endswith("IMG_2024_07_21.png")
    both = table([[of(LONG, 1.0)]], ["n02123045 tabby, tabby cat and so on"]).splitlines()[4]
    assert [grid.length(cell) for cell in re.split(" {2,}", both)[:2]] == [19, 19]


def test_on_a_stream_of_ascii_escaped_names_keep_the_columns(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="look_alike")
    monkeypatch.setattr("sys.stdout", stream)
    text = table([[of("Äpfel.png", 0.75, 0.25, 0.0), of(LONG, 0.0, 1.0, 0.0)]], ["Kätzchen", "dog", "x"])
    assert text.replace("█", "#").isascii()
    _, _, header, rule, first, second = text.replace("█", "#").splitlines()
    assert first.startswith(r"\xc4pfel.png ")
    assert r"K\xe4tzchen" in first
    assert "..." in second
    end = header.index("probability") + len("probability")
    assert (first[:end].endswith("  75.00%"), second[:end].endswith("  100.00%")) == (True, True)
    assert max(map(len, (header, rule, first, second))) <= 80


def test_the_work_grows_with_the_rows_and_not_with_their_square(monkeypatch):
    calls = 0
    length = grid.length

    def counted(text):
        nonlocal calls
        calls += 1
        return length(text)

    monkeypatch.setattr(grid, "length", counted)

    def work(count):
        nonlocal calls
        calls = 0
        table([[of(f"{i}.png", 0.5, 0.3, 0.2) for i in range(count)]], top=3)
        return calls

    assert work(400) - work(200) == work(300) - work(100)


def test_json_is_one_array_with_an_object_on_each_line():
    text = "".join(predictions.as_json([TWO[:1], TWO[1:]], CLASSES, 2))
    assert text == "".join(predictions.as_json([TWO], CLASSES, 2))
    assert len(text.splitlines()) == 4
    assert json.loads(text)[0] == {
        "file": "photos/1.png",
        "class": "cat",
        "index": 0,
        "probability": 0.75,
        "top": [{"class": "cat", "index": 0, "probability": 0.75}, {"class": "dog", "index": 1, "probability": 0.25}],
    }
    assert "".join(predictions.as_json([], CLASSES, 2)) == "[]\n"


def test_json_comes_with_each_batch():
    texts = predictions.as_json([TWO[:1], TWO[1:]], CLASSES, 1)
    assert json.loads(next(texts) + "]")[0]["file"] == "photos/1.png"


def test_csv_has_the_probability_of_each_class():
    text = "".join(predictions.as_csv([[of("a, b.png", 0.25, 0.75)]], ["file", "x y"]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows == [
        {"file": "a, b.png", "class": "x y", "probability": "0.75", "probability_file": "0.25", "probability_x y": "0.75"}
    ]
