from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bnn_train.cli import hooks
from bnn_train.errors import ConfigError


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("R1", "R2"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints" / "last.pt").touch()
    return tmp_path


@pytest.mark.parametrize("resume", ["R1", "R1/checkpoints/last.pt", "./R1/"])
def test_a_run_goes_on_in_its_own_directory_alone(runs, resume):
    hooks.check_one_directory(resume, runs / "R1")
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=.*R2: resume=.*R1.* continues that run in place"):
        hooks.check_one_directory(resume, runs / "R2")


def test_what_is_no_run_is_told_later(runs):
    hooks.check_one_directory("nowhere", runs / "R2")
    hooks.check_one_directory(None, runs / "R2")


def test_a_defect_in_a_hook_ends_the_program(capsys):
    """Hydra would only warn, and go on."""
    with pytest.raises(SystemExit) as end, hooks.refusing():
        raise KeyError("defect")
    assert (end.value.code, "KeyError: 'defect'" in capsys.readouterr().err) == (1, True)


def test_what_a_sweep_leaves_that_ended_before_its_first_job_is_taken_away(tmp_path):
    folder = tmp_path / "sweeps" / "seed"
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").touch()
    hooks._remove_if_empty(folder)
    assert list(tmp_path.iterdir()) == []
    (folder / "seed=0").mkdir(parents=True)
    hooks._remove_if_empty(folder)
    assert folder.exists()


def test_a_run_does_not_write_among_the_images_or_into_no_folder(tmp_path):
    images = tmp_path / "photos"
    images.mkdir()

    def check(run_dir, name="image_folder"):
        config = OmegaConf.create({"data": {"name": name, "root": str(images)}, "hydra": {"run": {"dir": run_dir}}})
        hooks.check_own(config, Path(run_dir))

    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=: needs a folder"):
        check("")
    for inside in (images, images / "run"):
        with pytest.raises(ConfigError, match=r"lies among the images of data\.root="):
            check(str(inside))
    check(str(tmp_path / "run"))
    check(str(images / "run"), name="digits")


def test_a_run_that_is_not_there_is_told_before_anything_is_loaded(runs):
    hooks.check_is_there("R1")
    hooks.check_is_there(None)
    with pytest.raises(ConfigError, match="resume=R3: there is no such run directory or checkpoint"):
        hooks.check_is_there("R3")
