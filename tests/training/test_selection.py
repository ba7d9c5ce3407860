import pytest

from bnn_train.training.selection import best_epoch, best_network, end_of_patience, is_out_of_patience

RESULTS = ("auto", "averaged", "recalibrated", "last")


def history(*accuracies, averaged=()):
    rows = [{"epoch": i + 1, "val_accuracy": value} for i, value in enumerate(accuracies)]
    for row, value in zip(rows, averaged, strict=False):
        row["ema_val_accuracy"] = value
    return rows


@pytest.mark.parametrize(
    ("patience", "accuracies", "end"),
    [
        (2, [0.1, 0.3, 0.2, 0.3, 0.9], 4),  # as high as before is no rise
        (2, [0.1, 0.3, 0.2, 0.4, 0.4, 0.4], 6),
        (3, [0.1, 0.3, 0.2, 0.3], None),
        (1, [0.5, 0.5], 2),
        (1, [0.1, 0.2, 0.3], None),
        (None, [0.5] * 9, None),
    ],
)
def test_patience_on_a_made_history(small, patience, accuracies, end):
    config = small("trainer.epochs=20", "data.val_size=10", f"trainer.patience={'null' if patience is None else patience}")
    assert end_of_patience(history(*accuracies), config, steps=10) == end
    assert not any(is_out_of_patience(history(*accuracies[:n]), config, 10) for n in range(end or len(accuracies)))


def test_patience_begins_where_the_network_is_what_it_will_be(small):
    """Pruning is complete in the fifth epoch: what was better before does not count."""
    ramp = "edges.rules=[{layers: linear1, edges: magnitude, largest: false, density: 0.5, what: prune, ramp: [0, 4]}]"
    config = small("trainer.epochs=20", "data.val_size=10", "trainer.patience=2", ramp)
    assert end_of_patience(history(*[0.9] * 6), config, 10) is None
    assert end_of_patience(history(*[0.9] * 7), config, 10) == 7
    assert end_of_patience(history(0.9, 0.9, 0.9, 0.9, 0.1, 0.2, 0.3), config, 10) is None


def test_it_is_the_network_that_may_be_the_result_whose_accuracy_must_rise(small):
    rows = history(0.5, 0.5, 0.5, averaged=(0.1, 0.6, 0.7))
    options = ("trainer.epochs=20", "data.val_size=10", "trainer.patience=2", "trainer.ema=0.9", "trainer.recalibrate=true")
    ends = {result: end_of_patience(rows, small(*options, f"trainer.result={result}"), 10) for result in RESULTS}
    assert ends == {"auto": None, "averaged": None, "recalibrated": 3, "last": 3}


def test_the_best_epoch_is_that_of_either_network():
    rows = history(0.5, 0.7, 0.6, averaged=(0.4, 0.7, 0.8))
    assert (best_epoch(rows), best_epoch(rows[:2]), best_epoch(rows, result="last")) == (3, 2, 2)
    assert [best_network(row) for row in rows] == ["", "", "ema_"]  # of equals the trained one


def test_an_ensembles_accuracy_counts():
    rows = [{"epoch": i + 1, "val_accuracy": 0.9 - i / 10, "val_ensemble_accuracy": 0.5 + i / 10} for i in range(3)]
    assert best_epoch(rows) == 3
