import pytest

from bnn_train.report import drawn


@pytest.mark.parametrize(("limits", "ends"), [((-4.0, 3.0), (-1.06, 1.06)), ((-0.2, 0.9), (-0.2, 0.9)), ((0.5, 1.4), (0.5, 1.06))])
def test_an_axis_ends_where_its_quantity_does(limits, ends):
    found = []
    drawn.within(lambda low, high: found.append((low, high)), limits, -1, 1)
    assert found == [pytest.approx(ends)]
