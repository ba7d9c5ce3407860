import pytest
import torch
import torch.nn.functional as F

from bnn_train.binary.layers import sampling
from bnn_train.training.evaluation import class_scores, evaluate


def test_evaluate_is_mean_loss_and_accuracy_whatever_the_batch(trainer):
    t = trainer()
    t.model.eval()
    inputs = (t.data.test.images.float() / 255 - 0.5) / 0.5
    logits = t.model(inputs)
    accuracy = (logits.argmax(1) == t.data.test.labels).float().mean().item()
    expected = {"loss": F.cross_entropy(logits, t.data.test.labels).item(), "accuracy": accuracy}
    for size in (1000, 100, 7):
        t.config.trainer.eval_batch_size = size
        assert evaluate(t.model, t.data.test, t.config) == pytest.approx(expected, rel=1e-5)


def test_evaluation_changes_nothing(trainer):
    t = trainer("model.dropout=0.5", "ste.stochastic=true", "weights=stochastic", "eval=ensemble")
    before, random = {k: v.clone() for k, v in t.model.state_dict().items()}, torch.get_rng_state()
    evaluate(t.model, t.data.test, t.config)
    assert all(torch.equal(v, before[k]) for k, v in t.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_the_ensemble_is_the_mean_of_the_probabilities_that_drawn_networks_predict(trainer):
    """Written out for 3 samples and one batch; and a network without noise is an ensemble of equals."""
    t = trainer("ste=logistic", "weights=stochastic", "eval=ensemble", "eval.samples=3", "seed=5")
    result = evaluate(t.model, t.data.test, t.config)
    inputs = (t.data.test.images.float() / 255 - 0.5) / 0.5
    t.model.eval()
    torch.manual_seed(5)
    with sampling(t.model):
        mean = sum(t.model(inputs).softmax(1) for _ in range(3)) / 3
    assert result["ensemble_loss"] == pytest.approx(F.nll_loss(mean.log(), t.data.test.labels).item(), rel=1e-5)
    assert result["ensemble_accuracy"] == pytest.approx((mean.argmax(1) == t.data.test.labels).float().mean().item())
    assert result["loss"] == pytest.approx(F.cross_entropy(t.model(inputs), t.data.test.labels).item(), rel=1e-5)
    assert result["loss"] != result["ensemble_loss"]
    plain = trainer("eval=ensemble")
    result = evaluate(plain.model, plain.data.test, plain.config)
    assert (result["ensemble_loss"], result["ensemble_accuracy"]) == (result["loss"], result["accuracy"])


def test_the_kind_of_evaluation_does_not_change_training(trainer):
    states = []
    for mode in ("deterministic", "ensemble"):
        t = trainer("ste=logistic", f"eval={mode}")
        list(t.fit())
        states.append(t.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_networks_do_not_depend_on_how_they_are_evaluated(trainer):
    """Though evaluation draws: what it takes from torch's generator it gives back."""
    noisy, found = ("ste=logistic", "eval=ensemble"), []
    for more in ((), ("trainer.eval_batch_size=17",), ("eval.samples=3",)):
        t = trainer(*noisy, *more)
        rows = list(t.fit())  # before the next one is built: both draw from the one generator
        found.append((t.model.state_dict(), [row["test_accuracy"] for row in rows]))
    for state, accuracies in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(state.values(), found[0][0].values(), strict=True))
        assert accuracies == found[0][1]


def test_class_scores_are_the_logits_that_evaluation_measures(trainer):
    t = trainer("trainer.eval_batch_size=100", "ste=logistic")
    scores = class_scores(t.model, t.data.test, t.config)
    assert scores.shape == (359, 10)
    found = evaluate(t.model, t.data.test, t.config)
    assert (scores.argmax(1) == t.data.test.labels).double().mean().item() == pytest.approx(found["accuracy"])
    assert F.cross_entropy(scores, t.data.test.labels).item() == pytest.approx(found["loss"], rel=1e-5)
