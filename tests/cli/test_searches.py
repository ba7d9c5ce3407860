import pytest
from omegaconf import OmegaConf

from bnn_train.cli import names, searches
from bnn_train.errors import ConfigError


def sweep(*typed, **values):
    config = OmegaConf.create({"resume": None, **values})
    searches.check_sweep(config, list(typed), names.swept(list(typed)))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["seed=0,1", "optimizer.lr=0.1", "seed=2,3"], r"seed=2,3: is typed twice"),
        (["seed=0,1", "seed=2"], r"seed=2: is typed twice"),
        (["+seed=0", "seed=1,2"], r"seed=1,2: is typed twice"),
        (["resume=r1,r2"], r"resume=r1,r2: a sweep's own jobs continue by themselves"),
        (["sweep.name=a,b"], r"sweep\.name=a,b: names the one directory"),
        (["dry_run=true,false"], r"dry_run=true,false: holds for all jobs"),
    ],
)
def test_what_does_not_say_which_jobs_to_run_is_refused(typed, message):
    with pytest.raises(ConfigError, match=message):
        sweep(*typed)


def test_a_run_is_not_continued_by_a_sweep():
    with pytest.raises(ConfigError, match="resume=r1: a sweep's own jobs"):
        sweep("resume=r1", "seed=0,1", resume="r1")


def test_the_last_of_single_values_wins_as_in_a_run():
    sweep("seed=0,1", "optimizer.lr=0.1", "optimizer.lr=0.2")


def search(*given, val_size=100, name="digits", swept=(), **sweeper):
    settings = {"direction": "minimize", "max_failure_rate": 0.0, "params": None, **sweeper}
    config = OmegaConf.create({"data": {"val_size": val_size, "name": name}, "hydra": {"sweeper": settings}})
    assert searches.is_search(config.hydra.sweeper)
    searches.settle(config, list(given), list(swept))
    return config.hydra.sweeper


def test_a_search_looks_for_the_highest_and_survives_a_failed_job():
    assert (search().direction, search().max_failure_rate) == ("maximize", 1.0)
    assert search("hydra.sweeper.max_failure_rate=0.2", max_failure_rate=0.2).max_failure_rate == 0.2
    assert search("hydra.sweeper.direction=maximize", direction="maximize").direction == "maximize"


@pytest.mark.parametrize("direction", ["minimize", ["maximize", "minimize"]])
def test_a_search_for_the_worst_is_refused(direction):
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.direction=.*would look for the worst network.*use maximize"):
        search("hydra.sweeper.direction=minimize", direction=direction)


def test_a_search_takes_held_out_images():
    with pytest.raises(ConfigError, match=r"data\.val_size=0: a search chooses by held-out images"):
        search(val_size=0)
    search(val_size=0, swept=["data.val_size"])
    search(val_size=0, params={"data.val_size": "choice(100,200)"})
    search(val_size=0, name="image_folder")  # it may hold a val/ of its own


def test_the_plain_sweeper_is_no_search():
    assert not searches.is_search(OmegaConf.create({"max_batch_size": None}))
