import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bnn_train.cli import arguments
from bnn_train.cli.arguments import check_flags, flags_first, for_hydra, quoted
from bnn_train.cli.mistyped import FlagError
from bnn_train.errors import ConfigError

PATHS = (
    "photos (1)",
    "2024_05_12",
    "1e3",
    "a,b",
    "a=b",
    "Bob's",
    "été",
    "~/data",
    "true",
    "[a]",
    "{a: b}",
    "a b",
    'say "x"',
    "$x",
    "C:\\d\\",
)


def read(argument):
    (override,) = OverridesParser.create().parse_overrides([argument])
    return override


def test_the_keys_that_hold_text_say_so_themselves():
    assert arguments.text_keys() == {"data.root", "data.cache_dir", "resume", "init_from", "sweep.name", "distill.teacher"} | {
        *("logger.wandb.project", "logger.mlflow.uri", "logger.mlflow.experiment"),
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["data.root", "resume", "init_from", "data.cache_dir"])
def test_a_path_is_read_as_it_was_typed(key, path):
    (argument,) = quoted([f"{key}={path}"])
    assert str(read(argument).value()) == path
    assert not read(argument).is_sweep_override()


@pytest.mark.parametrize(
    "argument",
    [
        *("data.root=data/photos", "data.root=../x-1", "resume=outputs/2026-01-31/12-00-00", "data.root=C:/photos"),
        *("data.root='a b'", 'data.root="a,b"', "resume=null", "data.root=", "data.root=${oc.env:HOME}/x"),
        *("trainer.epochs=1e3", "ste=tanh,clipped", "model.hidden=[1, 2]", "seed", "~ste", "hydra.run.dir=out/${now:%Y}"),
    ],
)
def test_what_needs_no_quotes_stays_as_it_is(argument):
    assert quoted([argument]) == [argument]
    assert quoted(["-m", argument]) == ["-m", argument]


def test_in_a_sweep_a_comma_separates_unless_there_is_such_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert quoted(["-m", "data.root=a (1),2024_05_12,c"])[1] == "data.root='a (1)','2024_05_12',c"
    assert quoted(["--multirun", "data.root='a,b',c"])[1] == "data.root='a,b',c"
    assert quoted(["-m", "data.root=choice(a,b)"])[1] == "data.root=choice(a,b)"
    os.mkdir("a,b")
    assert quoted(["-m", "data.root=a,b"])[1] == "data.root='a,b'"
    assert quoted(["-m", "hydra.sweep.dir=x,y"])[1] == "hydra.sweep.dir='x,y'"


def test_hydras_own_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert quoted(["hydra.run.dir=~/runs/1"]) == ["hydra.run.dir=/home/me/runs/1"]
    assert quoted(["hydra.run.dir=run (1)"]) == ["hydra.run.dir='run (1)'"]
    assert quoted(["hydra.searchpath=[my (1),b]"]) == ["hydra.searchpath=['my (1)',b]"]
    assert quoted(["hydra.searchpath=[~/my]"]) == ["hydra.searchpath=[/home/me/my]"]
    assert quoted(["hydra.searchpath=mine"]) == ["hydra.searchpath=[mine]"]
    assert arguments.value_of("hydra.run.dir='Bob\\'s'") == "Bob's"


def test_flags_may_stand_anywhere():
    assert flags_first(["seed=0,1", "-m", "ste=tanh"]) == ["-m", "seed=0,1", "ste=tanh"]
    assert flags_first(["seed=0", "-cd", "my", "model=x", "--cfg", "job"]) == ["-cd", "my", "--cfg", "job", "seed=0", "model=x"]


def test_no_experiment_and_no_method_are_the_default():
    assert for_hydra(["experiment=null", "method=null", "seed=1"]) == ["seed=1"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("--epochs 5", "--epochs 5: there is no such flag; did you mean trainer.epochs=5?"),
        ("--trainer.epochs=5", "--trainer.epochs=5: keys are typed without dashes: trainer.epochs=5"),
        ("--data.root photos", "--data.root photos: keys are typed without dashes: data.root=photos"),
        ("--seed", "--seed: keys are typed without dashes: seed=VALUE"),
        ("-x", "-x: there is no such flag; a key is typed as key=value, without dashes"),
        ("-c", "--cfg: needs a value after it"),
        ("-c jobs", "--cfg: 'jobs' (choose from "),
        ("--con x", "--con could match --config-path, --config-name, --config-dir"),
    ],
)
def test_a_flag_that_there_is_not(given, line):
    with pytest.raises(FlagError) as caught:
        check_flags(flags_first(given.split()))
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("-cd nowhere", "--config-dir=nowhere: is not a folder"),
        ("--config-dir=nowhere", "--config-dir=nowhere: is not a folder"),
        ("hydra.searchpath=[nowhere]", "hydra.searchpath=nowhere: is not a folder"),
        ("-cp my", "--config-path=my: would replace every option of the program"),
    ],
)
def test_a_folder_that_is_not_there(given, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_flags(given.split())
    assert str(caught.value).startswith(line)
