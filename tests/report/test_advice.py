import pytest

from bnn_train.report.advice import advice


def notes(accuracy=0.9, train_accuracy=0.5, images=100, losses=(1.0, 0.99), steps=2000, largest_class=0.5, ill=(), **more):
    summary = {
        "test_accuracy": accuracy,
        "train_accuracy": train_accuracy,
        "images": {"test": images},
        "epoch": 1,
        **more,
    }  # the best
    return advice(summary, [{"train_loss": loss} for loss in losses], steps, largest_class, ill)


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


def test_what_to_try_where_the_run_was_long_enough():
    assert "ste=none weights=real" in notes(accuracy=0.5)[1]


def test_what_ails_the_layers_comes_before_more_steps_and_another_size():
    lines = notes(accuracy=0.5, steps=80, ill=["nothing flips"])
    assert (lines[1], len(lines)) == ("nothing flips", 2)
    assert notes(ill=["nothing flips"]) == ["nothing flips"]


def test_a_run_that_ended_within_its_first_epoch():
    summary = {"test_accuracy": 0.1, "train_accuracy": 0.1, "images": {"test": 10}, "epoch": 0}
    assert "trainer.epochs=200 would be" in advice(summary, [{"train_loss": 1.0}], 5, 0.1)[1]


def test_learned_by_heart():
    assert notes(accuracy=0.5, train_accuracy=0.96)[1].startswith("it knows its training images, 96.00%, and nothing of others")
