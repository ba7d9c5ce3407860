"""docs/estimators/ is what scripts/estimator_pages.py would write."""

from pathlib import Path

import estimator_pages
import pytest
import torch

from bnn_train.binary.ste import ESTIMATORS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "estimators"


@pytest.mark.parametrize("name", estimator_pages.pages())
def test_the_text_is_up_to_date(name):
    found = (FOLDER / name).read_text(encoding="utf-8")
    assert found == estimator_pages.pages()[name], "run python scripts/estimator_pages.py"


def test_every_estimator_has_a_small_plot_and_a_place_in_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {path.stem for path in FOLDER.glob("*.svg")} == {*ESTIMATORS, "stompp"}
    for path in FOLDER.glob("*.svg"):
        assert path.stat().st_size < 25_000
        assert f"docs/estimators/{path.stem}.md" in navigation


def test_curves_are_those_of_the_estimators():
    def at(curves, label, a):
        (values,) = [values for name, values in curves if name == label]
        return values[(estimator_pages.A - a).abs().argmin()].item()

    assert at(estimator_pages.factors("clipped"), "clip 0.5", 0.4) == 1
    assert at(estimator_pages.factors("clipped"), "clip 0.5", 0.6) == 0
    assert at(estimator_pages.factors("stompp"), "share 0.75", 0.5) == 0.25
    assert at(estimator_pages.factors("clamped_grad"), "incoming gradient 4", 2.0) == 0.25
    assert at(estimator_pages.forwards("ede"), "mean, progress 0.5", 1.0) == pytest.approx(torch.tensor(1.0).tanh().item())
