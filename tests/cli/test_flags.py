import pytest

from bnn_train.cli.evaluate import OWN
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["device=cpu"], "error: device=cpu: type --device=cpu; bnn-eval --help lists the flags\n"),
        (["data.root=x"], "error: data.root=x: type --data-root=x; bnn-eval --help lists the flags\n"),
        (["seed=1"], "error: seed=1: is no flag; bnn-eval --help lists the flags\n"),
        (["--devcie", "cpu"], "error: unrecognized arguments: --devcie cpu; bnn-eval --help lists the flags\n"),
    ],
)
def test_a_mistake_is_one_line(capsys, typed, expected):
    with pytest.raises(SystemExit) as caught:
        Flags(OWN, prog="bnn-eval").parse_args(typed)
    assert caught.value.code == 2
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ConfigError("device", "cuda:0", "torch finds no CUDA device here; use device=cpu or device=auto"),
            "--device=cuda:0: torch finds no CUDA device here; use --device=cpu or --device=auto",
        ),
        (ConfigError("data.root", "x", "is not a folder"), "--data-root=x: is not a folder"),
        (ConfigError("path", "r", "holds no checkpoints"), "path=r: holds no checkpoints"),
        (ConfigError("trainer.batch_size", 5, "use trainer.device=1"), "trainer.batch_size=5: use trainer.device=1"),
    ],
)
def test_an_error_speaks_of_the_flags_of_the_command(error, expected):
    with pytest.raises(ConfigError) as caught, Flags(OWN).own_terms():
        raise error
    assert str(caught.value) == expected
