import pytest

from bnn_train.report import classes

PETS = ["cat", "dog", "newt"]


def test_figures_of_each_class_by_hand():
    """Of three cats one is taken for a dog; there is no newt, but a dog is taken for one."""
    found = classes.figures([0, 1, 0, 2], [0, 0, 0, 1], PETS)
    assert found == {"classes": PETS, "per_class": [2 / 3, 0.0, None], "confusion": [[2, 1, 0], [0, 0, 1], [0, 0, 0]]}
    assert classes.never_named(found) == []
    assert classes.never_named(classes.figures([0, 0], [0, 1], PETS)) == ["dog"]  # of newts there is no image
    assert classes.never_named({}) == []


def test_of_very_many_classes_nothing_is_kept():
    assert len(classes.figures([], [], ["x"] * classes.MOST)["confusion"]) == classes.MOST
    assert classes.figures([], [], ["x"] * (classes.MOST + 1)) == {}


def test_the_whole_matrix_where_it_fits():
    lines = classes.table(classes.figures([0, 1, 0, 2], [0, 0, 0, 1], PETS)).splitlines()
    assert lines[1].split() == ["class", "images", "accuracy", *PETS]
    assert [line.split() for line in lines[3:]] == [
        ["cat", "3", "66.67%", "2", "1", "0"],
        ["dog", "1", "0.00%", "0", "0", "1"],
        ["newt", "0", "0", "0", "0"],
    ]


@pytest.mark.parametrize("names", [[f"a_kind_of_animal_{i}" for i in range(9)], [str(i) for i in range(11)]])
def test_the_most_frequent_mistake_where_it_does_not(names):
    count = len(names)
    labels, predicted = [0, 0, 0, 1, 2], [1, 2, 2, 1, 2]
    lines = classes.table(classes.figures(predicted, labels, names)).splitlines()
    assert len(lines) == 3 + count
    assert lines[3].split() == [names[0], "3", "0.00%", names[2], "(2)"]
    assert lines[4].split() == [names[1], "1", "100.00%"]
    assert max(map(len, lines)) <= 80


def test_no_table_of_many_classes_and_of_none():
    assert classes.table(classes.figures([0], [0], [str(i) for i in range(21)])) == ""
    assert classes.table({}) == ""
