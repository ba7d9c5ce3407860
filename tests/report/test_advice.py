import pytest

from bnn_train.report.advice import advice, kinds


def notes(
    accuracy=0.9, train_accuracy=0.5, images=100, losses=(1.0, 0.99), steps=2000, largest_class=0.5, ill=(), unfinished=(),
    epochs=2, max_steps=None, per_epoch=40, uneven="", **more,
):  # fmt: skip
    summary = {"test_accuracy": accuracy, "train_accuracy": train_accuracy, "images": {"test": images}, "epoch": 1}  # the best
    summary |= {"epochs": epochs, "max_steps": max_steps, **more}
    return advice(summary, [{"train_loss": loss} for loss in losses], steps, per_epoch, largest_class, ill, unfinished, uneven)


def test_a_good_result_is_left_alone():
    assert notes() == []
    assert notes(steps=80) == []  # short, but nothing says that more would help


@pytest.mark.parametrize(("accuracy", "word"), [(0.5, "no better than"), (0.59, "not clearly better than"), (0.4, "below")])
def test_no_better_than_the_largest_class_within_two_deviations(accuracy, word):
    """sqrt(0.5 * 0.5 / 100) = 5%: above 60% something was learned."""
    always = "naming the most frequent class each time, 50.00%, on 100 images"
    assert notes(accuracy=accuracy)[0] == f"test accuracy {accuracy:.2%} is {word} {always}"
    assert notes(accuracy=0.61) == []


def test_every_image_right_is_no_chance_however_few_there_are():
    assert notes(accuracy=1.0, images=4) == []
    assert notes(accuracy=0.75, images=4) != []


def test_a_short_run():
    """Two epochs of 40 steps: 25 epochs are 1,000."""
    (line,) = notes(losses=(1.0, 0.9), steps=80)
    assert line == "the run was short, 80 steps, with the loss still falling: trainer.epochs=25 would be 1,000 steps or more"
    assert notes(losses=(1.0, 0.9), steps=1000) == []
    assert notes(losses=(1.0, 0.9), steps=80, train_accuracy=0.96) == []
    assert notes(losses=(1.0, 0.9), steps=80, ended="after epoch 4: no higher accuracy") == []
    assert notes(accuracy=0.5, steps=80)[1] == "the run was short, 80 steps: trainer.epochs=25 would be 1,000 steps or more"


def test_a_short_run_that_has_learned_little_of_its_training_images():
    (line,) = notes(accuracy=0.8, train_accuracy=0.38, steps=80)
    assert line == "the run was short, 80 steps: trainer.epochs=25 would be 1,000 steps or more"
    assert notes(accuracy=0.8, train_accuracy=0.38) == []


@pytest.mark.parametrize(
    ("epochs", "max_steps", "longer"),
    [
        (20, 20, "trainer.max_steps=null trainer.epochs=72"),
        (20, 1200, "trainer.epochs=72"),
        (80, 20, "trainer.max_steps=1000 or null"),
    ],
)
def test_a_run_that_its_steps_have_ended(epochs, max_steps, longer):
    """Epochs of 14 steps, of which the second is cut short: 72 are 1,008."""
    (line,) = notes(losses=(1.0, 0.9), steps=20, epochs=epochs, max_steps=max_steps, per_epoch=14)
    assert line == f"the run was short, 20 steps, with the loss still falling: {longer} would be 1,000 steps or more"


def test_a_network_that_is_not_binary_yet_is_not_judged_by_its_length():
    found = notes(accuracy=0.5, train_accuracy=0.96, steps=80, ill=["ill"], unfinished=["not yet"])
    assert (found[0], found[2:]) == ("not yet", ["ill"])
    assert notes(losses=(1.0, 0.9), steps=80, unfinished=["not yet"]) == ["not yet"]


def test_what_to_try_where_the_run_was_long_enough():
    assert "ste=none weights=real" in notes(accuracy=0.5)[1]


def test_what_ails_the_layers_comes_before_more_steps_and_another_size():
    lines = notes(accuracy=0.5, steps=80, ill=["nothing flips"])
    assert (lines[1], len(lines)) == ("nothing flips", 2)
    assert notes(ill=["nothing flips"]) == ["nothing flips"]


def test_a_run_that_ended_within_its_first_epoch():
    lines = notes(accuracy=0.1, train_accuracy=0.1, images=10, largest_class=0.1, losses=(1.0,), steps=5, max_steps=5)
    assert "trainer.max_steps=null trainer.epochs=25 would be" in lines[1]


def test_a_class_that_is_never_named_and_what_to_do_where_the_classes_are_uneven():
    missed = {"classes": ["a", "b", "c"], "confusion": [[5, 0, 0], [1, 0, 0], [0, 0, 0]]}  # of c there is no test image
    uneven = "the classes are uneven, 5 training images of b and 25 of a"
    assert notes(**missed) == ["the network never names b, of which there are test images"]
    assert notes(**missed, uneven=uneven)[1] == f"{uneven}: trainer.class_weights=balanced lets every class count the same"
    assert notes(uneven=uneven) == []
    assert "class_weights" in notes(accuracy=0.5, uneven=uneven)[1]


def test_learned_by_heart():
    assert notes(accuracy=0.5, train_accuracy=0.96)[1].startswith("it knows its training images, 96.00%, and nothing of others")


def test_a_kind_is_what_notes_complain_of_without_figures_and_remedies():
    chance = "not clearly better than the most frequent class"
    assert [kinds(notes(accuracy=accuracy))[0] for accuracy in (0.5, 0.59, 0.4)] == [chance] * 3
    assert kinds(notes(accuracy=0.5)) == [chance]  # what to try is no complaint
    assert kinds(notes(accuracy=0.5, steps=80)) == [chance, "trained for too short"]
    assert kinds(notes(accuracy=0.5, train_accuracy=0.96))[1] == "knows its training images, and nothing of others"
    missed = {"classes": ["a", "b"], "confusion": [[5, 0], [1, 0]]}
    assert kinds(notes(**missed, uneven="uneven")) == ["some class is never named", "some classes have many more training images"]
    assert kinds(["something new of this run: a remedy", "something new of this run: another"]) == ["something new of this run"]
