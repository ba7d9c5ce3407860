import pytest

from bnn_train.edges.apply import EdgeRow
from bnn_train.models.layer_table import LayerRow
from bnn_train.report import tables

ROWS = [
    LayerRow("conv1", "BinaryConv2d", (4, 8, 8), 800, 800, 1, 32, 0, 51_200, 100),
    LayerRow("norm1", "BatchNorm2d", (4, 8, 8), 8, 0, 32, 32, 0, 0, 64),
    LayerRow("linear1", "BinaryLinear", (16,), 8_000, 8_000, 1, 1, 8_000, 0, 1_000),
    LayerRow("output", "Linear", (10,), 170, 0, 32, 32, 0, 160, 680),
]


def test_totals_and_the_float32_size():
    assert tables.network_totals(ROWS) == {
        "parameters": 8_978,
        "binary_macs": 8_000,
        "real_macs": 51_360,
        "bytes": 1_844,
        "float32_bytes": 4 * 8_800 + 64 + 680,
        "binary_weights": 8_800,
    }


def test_network_table_shows_each_layer_and_the_ratio():
    lines = tables.network_table(ROWS).splitlines()
    (conv,) = (line.split() for line in lines if "conv1" in line)
    assert conv == ["conv1", "4x8x8", "800", "1x32", "0", "51,200", "100", "B"]
    assert lines[-1] == "1.8 kB in memory after training; in float32 35.9 kB, 19.5x as much"


def test_a_large_network_has_one_row_for_all_that_multiplies_nothing():
    rows = [*ROWS, *(LayerRow(f"norm{i}", "BatchNorm2d", (4, 8, 8), 8, 0, 32, 32, 0, 0, 64) for i in range(2, 25))]
    shown = [line.split() for line in tables.network_table(rows).splitlines()[3:]]
    assert [cells[0] for cells in shown[:3]] == ["conv1", "linear1", "output"]
    assert shown[3] == ["24", "norms", "and", "others", "192", "1.5", "kB"]
    assert shown[5][:2] == ["total", f"{tables.network_totals(rows)['parameters']:,}"]


def test_sizes_and_durations():
    assert [tables.size(n) for n in (999, 1_000, 2_500_000, 3_000_000_000)] == ["999 B", "1.0 kB", "2.5 MB", "3.00 GB"]
    assert [tables.duration(s) for s in (0.04, 59.4, 61, 3_725)] == ["0.0 s", "59.4 s", "0:01:01", "1:02:05"]


def test_result_and_evaluation_tables():
    summary = {"test_accuracy": 0.9876, "val_accuracy": 0.5, "train_accuracy": 1.0, "chosen": "epoch 3, the last", "seconds": 5.0}
    summary |= {"checkpoint": "checkpoints/result.pt", "limits": {"train": 1000, "test": None}}
    text = tables.result_table({**summary, "images_per_second": 1234.5, "device": "cpu x"}, "outputs/x")
    for piece in (
        "98.76%",
        "50.00%",
        "epoch 3, the last",
        "5.0 s, 1,234 training images per second",
        "outputs/x",
        "to 1,000 train images",
    ):
        assert piece in text
    text = tables.evaluation_table(
        {
            "checkpoint": "a.pt",
            "kind": "reached",
            "epoch": 3,
            "step": 2,
            "test_accuracy": 0.5,
            "test_loss": 1.25,
            "test_images": 1000,
        }
    )
    assert [line.split() for line in text.splitlines()][-1] == ["test", "1,000", "50.00%", "1.2500"]
    assert text.startswith("a.pt, what the run had reached, after epoch 3 and 2 steps\n")
    assert [tables.moment(0, 1), tables.moment(2, 0), tables.moment(1, 1234)] == ["1 step", "epoch 2", "epoch 1 and 1,234 steps"]


def test_an_evaluation_on_other_images_says_so():
    result = {"checkpoint": "a.pt", "kind": "last", "epoch": 3, "step": 0, "test_accuracy": 0.5, "test_loss": 1.0, "test_images": 9}
    assert "other images" not in tables.evaluation_table({**result, "same_images": True})
    other = {**result, "data": "photos", "same_images": False}
    assert "note: photos: these are other images than the network was trained" in tables.evaluation_table(other)
    assert "the 9 that would be its test images" in " ".join(tables.evaluation_table(other).split())


def test_an_evaluation_on_test_images_alone_names_them_and_what_is_missing():
    result = {"checkpoint": "a.pt", "kind": "last", "epoch": 3, "step": 0, "test_accuracy": 0.5, "test_loss": 1.0, "test_images": 9}
    result |= {"data": "new/test", "same_images": False, "missing_classes": ["cat", "dog"]}
    text = " ".join(tables.evaluation_table(result).split())
    assert "note: measured on 9 images of new/test: not the run's own" in text
    assert "note: there is no image of cat, dog" in text
    own = tables.evaluation_table({**result, "same_images": True, "missing_classes": []})
    assert "on 9 images of new/test, the run's own test images" in " ".join(own.split())
    assert "note" not in own


def test_edges_table():
    rows = [EdgeRow("linear1", 1_000, 600, 300, 100, 200, 50), EdgeRow("output", 10, 10, 0, 0, 0, 0)]
    lines = [line.split() for line in tables.edges_table(rows).splitlines()]
    assert ["linear1", "1,000", "600", "300", "100", "10.0%", "200", "25.0%"] in lines
    assert ["output", "10", "10", "0", "0", "0.0%", "0"] in lines


NAMES = ["stem", "stage2.block1.shortcut.conv", "features.[odd].conv", "a_long_name_with_words_of_its_own.convolution"]


def widest(text):
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_of_long_names_and_large_numbers_fit_and_are_whole(columns, width):
    """Larger ones than those of resnet20."""
    columns(width)
    numbers = ((64, 8, 8), 36_864, 36_864, 1, 1, 2_359_296, 0, 4608)
    rows = [LayerRow(name, "BinaryConv2d", *numbers) for name in NAMES]
    rows.append(LayerRow("big", "Conv2d", (512, 112, 112), 12_359_296, 0, 32, 32, 0, 462_422_016, 49_437_184))
    text = tables.network_table(rows)
    assert widest(text) <= width
    for piece in ("36,864", "2,359,296", "462,422,016", "12,359,296", "32x32"):
        assert piece in text
    for word in ("[odd].", "shortcut.", "convolution"):
        assert word in text
    assert ("stage2.block1.shortcut.conv" in text) == (width == 120)
    assert (" 4.6 kB" in text) == (width >= 80)
    edges = tables.edges_table([EdgeRow(name, 12_359_296, 12_000_000, 300, 100, 200, 50) for name in NAMES])
    assert widest(edges) <= width
    for piece in ("12,359,296", "12,000,000", "25.0%", "[odd]."):
        assert piece in edges


def test_columns_of_penalties_are_there_where_something_is_penalised():
    text = tables.edges_table([EdgeRow("output", 10, 10, 0, 0, 0, 0)])
    assert text.splitlines()[1].split() == ["layer", "edges", "trained", "frozen", "pruned", "sparsity"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_results_break_between_words(columns, width):
    columns(width)
    summary = {"test_accuracy": 0.9876, "chosen": "epoch 1000, best on the held-out images", "checkpoint": "checkpoints/result.pt"}
    summary |= {"limits": {"train": 10_000, "test": 10_000}, "seconds": 5000.0, "images_per_second": 123_456.0}
    text = tables.result_table({**summary, "device": "cuda NVIDIA H100 80GB HBM3, with a name that is longer"}, "outputs/[x]")
    assert widest(text) <= width
    assert "98.76%" in text
    assert text.endswith("\n\nsaved in outputs/[x]")
    assert "(checkpoints/result.pt)" in text
    which = {"kind": "best", "epoch": 1000, "step": 123, "test_accuracy": 0.5, "test_loss": 1.25, "test_images": 1000}
    text = tables.evaluation_table({"checkpoint": "outputs/2026-01-31/12-00-00-000000/checkpoints/result.pt", **which})
    assert widest(text) <= width
    assert " ".join(text.split()).startswith(
        "outputs/2026-01-31/12-00-00-000000/checkpoints/result.pt, best on the held-out images, after epoch 1000 and 123 steps"
    )
