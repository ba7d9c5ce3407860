import pickle

import pytest

from bnn_train.deploy.file import DamagedFile
from bnn_train.errors import Busy, ConfigError, Diverged, Interrupted, PluginError


@pytest.mark.parametrize("error", [
    ConfigError("seed", None, "must be"), ConfigError("", "", "a line"), PluginError("loss", "mine", "raises"), Busy("a", 1, "b"),
    DamagedFile("path", "m.bnn", "is damaged"), Diverged("nan"), Interrupted(15),
])  # fmt: skip
def test_what_ends_a_command_comes_out_of_a_pickle_as_it_was(error):
    """A worker of multiprocessing hands its exception on as one; a pool waits for ever for what cannot be read."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_without_a_key_the_remedy_stands_alone():
    assert str(ConfigError("", "", "a line")) == "a line"
    assert str(ConfigError("seed", None, "must be")) == "seed=null: must be"
    assert (str(Interrupted(15)), Interrupted(15).exit_code) == ("SIGTERM", 143)
