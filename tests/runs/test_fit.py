import pytest
import torch
from torch import nn

from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint, fit, start


def test_what_does_not_fit_is_named():
    own = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert fit.misfit(own, own) == ""
    assert (
        fit.misfit({"a": torch.zeros(4), "c": torch.zeros(1)}, own)
        == "a is (4,) there and (2,) here; it lacks b; it has c too much"
    )
    assert fit.misfit({"a": torch.zeros(2)}, own, may_lack=("b",)) == ""


def test_a_checkpoint_of_another_network_is_refused():
    state = {"config": {"plugins": []}, "model": nn.Linear(2, 3).state_dict()}
    same = nn.Linear(2, 3)
    with fit.expected(state, same, "path", "run"):
        same.load_state_dict(state["model"])
    line, model = r"^path=run: its model is another .*weight is \(3, 2\) there and \(3, 4\) here", nn.Linear(4, 3)
    with pytest.raises(ConfigError, match=line), fit.expected(state, model, "path", "run"):
        model.load_state_dict(state["model"])
    with pytest.raises(RuntimeError, match="of another kind"), fit.expected(state, nn.Linear(2, 3), "path", "run"):
        raise RuntimeError("of another kind")


LAYERS = nn.ModuleDict({"linear": nn.Linear(2, 2)}), nn.ModuleDict({"net": nn.ModuleDict({"linear": nn.Linear(2, 2)})})


@pytest.mark.parametrize(
    ("there", "here", "line"),
    [
        (*LAYERS[::-1], r"its names begin with net\. and the network's do not"),
        (*LAYERS, r"the network's names begin with net\. and its do not"),
    ],
)
def test_names_that_fit_but_for_their_beginning(there, here, line, tmp_path):
    torch.save(there.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match=line):
        start.weights_to_start_with(tmp_path / "m.pt", here)


def test_what_is_no_state_dict_is_called_what_it_is(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    (tmp_path / "m.bnn").write_bytes(b"anything")
    with pytest.raises(ConfigError, match=r"whole\.pt: holds Python objects, .*torch\.save\(net\.state_dict\(\), FILE\)"):
        start.weights_to_start_with(tmp_path / "whole.pt", nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"resume=.*m\.bnn: is an exported network"):
        checkpoint.load(tmp_path / "m.bnn", "resume")
