"""What a file says of itself is taken only as far as it is of the right kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from bnn_train.deploy import about, file
from bnn_train.deploy.evaluate import evaluate_exported
from bnn_train.deploy.export import export_run
from bnn_train.errors import ConfigError
from bnn_train.runs.run import run


@pytest.mark.parametrize(
    "told", [{}, {"kind": "last"}, {"kind": "other", "epoch": 1, "step": 0}, {"kind": "last", "epoch": True, "step": 0}]
)
def test_which_network_it_is_where_it_tells(told):
    assert about.which(told, Path("m.bnn")) == {"checkpoint": "m.bnn"}
    whole = {"kind": "best", "epoch": 3, "step": 7}
    assert about.which({**told, **whole}, Path("m.bnn")) == {"checkpoint": "m.bnn", **whole}


def test_the_size_of_image_files_is_the_networks_own():
    def size(given, name="image_folder", shape=(3, 8, 8)):
        return about.image_size({"data": {"name": name, "image_size": given}}, shape)

    assert size(8) == size([8, 8]) == (8, 8)
    assert size([8, 9], shape=(3, 8, 9)) == (8, 9)
    assert size(10**9) is size(None) is size("8") is size(8, "digits") is size(8, shape=(3, 8, 9)) is None
    assert size([9, 8], shape=(3, 8, 9)) is size([8]) is size([8, True]) is size([8.0, 8.0]) is size([[8], 8]) is size([]) is None
    assert about.image_size({}, (3, 8, 8)) is about.image_size({"data": []}, (3, 8, 8)) is None


def test_how_images_get_their_size_is_to_crop_them_unless_it_is_told():
    def fit(given, size=8):
        return about.fit({"data": {"name": "image_folder", "image_size": size, "fit": given}}, (3, 8, 8))

    assert fit("pad") == "pad"
    assert fit("pad", size=None) == fit("other") == fit(["pad"]) == fit(None) == about.fit({}, (3, 8, 8)) == "crop"


@pytest.fixture(scope="module")
def exported(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(compose("model.hidden=[16,16]", "trainer.epochs=1", "data.train_limit=100", "data.test_limit=20"), folder)
    return export_run(folder, folder / "m.bnn").packed


def test_no_place_of_the_machine_but_the_images_is_in_it(exported):
    assert set(exported.about["data"]) == set(about.DATA)


def changed(packed, path, **told):
    file.write(replace(packed, about={**packed.about, **told}), path)
    return path


def test_a_network_without_data_is_not_evaluated(exported, tmp_path):
    path = tmp_path / "m.bnn"
    file.write(replace(exported, about={"classes": exported.about["classes"]}), path)
    with pytest.raises(ConfigError, match="does not say on which images it was measured"):
        evaluate_exported(path)


@pytest.mark.parametrize(
    "told",
    [
        {"data": {"name": "digits", "val_size": "many"}},
        {"data": {"name": "digits", "mean": {"a": 1}}},
        {"data": {"name": "digits", "test_fraction": -1.0}},
        {"images": {"classes": []}},
        {"eval_batch_size": 0},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_damage(exported, tmp_path, told):
    with pytest.raises(file.DamagedFile, match="what it says of its images cannot be read"):
        evaluate_exported(changed(exported, tmp_path / "m.bnn", **told))


def test_images_that_are_not_where_they_were_are_not_downloaded_there(exported, tmp_path):
    data = {**exported.about["data"], "name": "mnist", "root": str(tmp_path / "gone")}
    with pytest.raises(ConfigError, match="is not here"):
        evaluate_exported(changed(exported, tmp_path / "m.bnn", data=data))
    assert not (tmp_path / "gone").exists()
