import pytest

from bnn_train.report import grid
from bnn_train.report.grid import Column


def widest(text):
    return max(map(len, text.splitlines()))


def test_a_table():
    columns = [Column("layer", ["a", "bc", "total"], right=False), Column("edges", ["1", "22", "23"])]
    assert grid.table(columns, "title", total=True).splitlines() == [
        "   title",
        "layer  edges",
        "────────────",
        "a          1",
        "bc        22",
        "",
        "total     23",
    ]


def test_cells_are_text():
    """Neither rich's markup nor a control character means anything."""
    cells = ["[gamma]", "[/]", "[bold]x[/bold]", ":smile:", "a\nb\x1b[2J\u2028"]
    text = grid.table([Column("[key]", cells, right=False)], "sweeps/[red]x")
    for piece in (*cells[:4], "[key]", "sweeps/[red]x", r"a\nb\x1b[2J\u2028"):
        assert piece in text


def test_wide_characters_and_accents_keep_the_columns_in_line():
    text = grid.table([Column("name", ["写真", "e\N{COMBINING ACUTE ACCENT}", "x"], right=False), Column("n", ["1", "2", "3"])])
    assert text.splitlines()[2:] == ["写真  1", "e\N{COMBINING ACUTE ACCENT}     2", "x     3"]


LONG = [
    Column("layer", ["stage2.block1.shortcut.conv", "stem"], right=False, dotted=True),
    Column("output", ["16x112x112", "x"], spare=2),
    Column("parameters", ["12,345,678", "1"]),
    Column("binary MACs", ["1", "2"]),
    Column("memory", ["1.0 kB", "2 B"], spare=1),
]


@pytest.mark.parametrize(
    ("width", "header", "first"),
    [
        (80, "layer  output  parameters  binary MACs  memory", "stage2.block1.shortcut.conv  16x112x112  12,345,678  1  1.0 kB"),
        (70, "layer  output  parameters  MACs  memory", "stage2.block1.shortcut.conv  16x112x112  12,345,678  1  1.0 kB"),
        (60, "layer  output  parameters  MACs  memory", "stage2.block1.  16x112x112  12,345,678  1  1.0 kB"),
        (50, "layer  parameters  MACs  memory", "stage2.block1.  12,345,678  1  1.0 kB"),
        (40, "layer  parameters  MACs", "stage2.block1.  12,345,678  1"),
    ],
)
def test_a_narrower_table_breaks_headers_then_names_then_leaves_out_what_can_be_spared(width, header, first):
    lines = grid.table(LONG, width=width).splitlines()
    rule = next(i for i, line in enumerate(lines) if line[0] == "─")
    assert lines[rule - 1].split() == header.split()
    assert lines[rule + 1].split() == first.split()
    assert widest("\n".join(lines)) <= width


def test_a_name_is_broken_at_its_dots_before_its_words_are():
    table = grid.table([Column("layer", ["block.gated_conv2.norm_conv2", "a"], right=False, dotted=True)], width=20)
    assert table.splitlines()[2:] == ["block.gated_conv2.", "norm_conv2", "a"]
    table = grid.table([Column("layer", ["block.a_long_name_of_a_layer.conv"], right=False, dotted=True)], width=20)
    assert table.splitlines()[2:] == ["block.a_long_name_", "of_a_layer.conv"]  # where dots alone would be too wide


def test_a_table_that_is_still_too_wide_goes_on_below_itself_with_its_names():
    columns = [Column("name", ["first", "second"], right=False)]
    columns += [Column(f"figure{i}", [f"{i}1.000", f"{i}2.000"]) for i in range(9)]
    text = grid.table(columns, width=40)
    parts = text.split("\n\n")
    assert [part.splitlines()[0].split()[0] for part in parts] == ["name"] * len(parts)
    assert widest(text) <= 40
    assert [word for part in parts for word in part.splitlines()[2].split()[1:]] == [f"{i}1.000" for i in range(9)]


def test_long_titles_paths_and_prose_break_between_words_alone():
    title = "sweeps/" + "+".join(["optimizer.weight_decay"] * 5) + ", by test accuracy"
    text = grid.table([Column("a", ["1"])], title, width=60)
    assert widest(text) <= 60
    assert text.count("optimizer.weight_decay") == 5
    assert grid.fold(["aaaa,", "bbbb,", "c"], width=10) == "aaaa,\n  bbbb, c"
    assert grid.fold(["a" * 99, "b"], width=10) == "a" * 99 + "\n  b"  # a path that is to be copied stays whole


def test_a_figure_and_its_unit_stay_on_one_line(columns):
    columns(40)
    assert grid.sentence("as written: the same on every image; 14.1 kB, in 2 s", "") == (
        "as written: the same on every image;\n14.1 kB, in 2 s"
    )
    assert grid.sentence("it was written just now, and has 14.1 kB, in 2 s", "") == (
        "it was written just now, and has\n14.1 kB, in 2 s"
    )


def test_pairs(columns):
    columns(40)
    text = grid.pairs([("network", "epoch 10, best on the held-out images"), ("time", "1 s")], "result")
    assert text.splitlines()[1:] == [
        "",
        "  network    epoch 10, best on the",
        "             held-out images",
        "  time       1 s",
    ]


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghijk", 10, "abc…fghijk"),
        ("photos/summer/IMG_0001.jpg", 16, "photo…G_0001.jpg"),
        ("写真写真写真写真", 10, "写…真写真"),
        ("e\u0301" * 9, 4, "e\u0301…" + "e\u0301" * 2),
    ],
)
def test_a_long_name_is_shortened_in_its_middle(text, most, expected):
    assert grid.shortened(text, most) == expected
    assert grid.length(expected) <= most
    assert grid.length(grid.shortened(text, most, "...")) <= most


@pytest.mark.parametrize("dotted", [False, True])
def test_the_work_of_a_table_grows_with_its_rows_and_not_with_their_square(monkeypatch, dotted):
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
        names = [f"layer.of.a.network.of.many.layers.{i}" for i in range(100, 100 + count)]
        grid.table([Column("name", names, dotted=dotted), Column("other", ["x"] * count)], width=30)
        return calls

    assert work(400) - work(200) == work(300) - work(100)
