import torch

from bnn_train.runs import mistakes


def test_the_surest_mistakes_come_first_and_right_answers_not_at_all():
    labels = torch.tensor([0, 1, 0, 1, 0])
    scores = torch.tensor([[0.0, 1.0], [0.0, 9.0], [0.0, 5.0], [3.0, 0.0], [2.0, 0.0]])  # wrong: 0 by 1, 2 by 5, 3 by 3
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 4)
    found, places = mistakes.surest(scores, labels, images)
    assert places.tolist() == [2, 3, 0]
    assert torch.equal(found, images[[2, 3, 0]])
    assert (found.dtype, places.dtype) == (torch.uint8, torch.int64)


def test_at_most_24_are_kept_and_of_equals_the_first():
    count = 100
    _, places = mistakes.surest(
        torch.tensor([[0.0, 1.0]]).expand(count, 2), torch.zeros(count, dtype=torch.int64), torch.zeros(count, 1, 2, 2)
    )
    assert places.tolist() == list(range(24))


def test_a_network_without_mistakes_keeps_nothing():
    images = torch.zeros(3, 1, 100, 80, dtype=torch.uint8)
    found, places = mistakes.surest(torch.eye(3), torch.arange(3), images)
    assert (found.shape[0], places.tolist()) == (0, [])


def test_large_images_are_made_smaller_by_averages_and_keep_their_shape():
    images = torch.zeros(1, 3, 128, 96, dtype=torch.uint8)
    images[..., 1::2] = 200  # every other column
    found, _ = mistakes.surest(torch.tensor([[0.0, 1.0]]), torch.zeros(1, dtype=torch.int64), images)
    assert found.shape == (1, 3, 64, 48)
    assert (found == 100).all()


def test_scores_that_are_no_numbers_do_no_harm():
    scores = torch.tensor([[float("nan"), 1.0], [float("nan"), float("nan")], [float("inf"), 0.0], [0.0, 4.0]])
    _, places = mistakes.surest(scores, torch.tensor([0, 1, 1, 0]), torch.zeros(4, 1, 2, 2, dtype=torch.uint8))
    assert sorted(places.tolist()) == [0, 1, 2, 3]
    assert places[0] == 3  # the others have no probability
