"""From stages.each to the configuration of each stage."""

import functools
from dataclasses import replace

import pytest

from bnn_train.cli import compose as compose_module
from bnn_train.cli import stages
from bnn_train.config.root import FREE
from bnn_train.config.stages import StagesConfig
from bnn_train.errors import ConfigError

composed = functools.cache(lambda *typed: compose_module.typed(list(typed)))  # Hydra takes a sixth of a second


def each(*typed, searchpath=()):
    return stages.composed(composed(*typed), typed, searchpath)


def test_a_stage_is_the_command_line_with_its_overrides_added():
    typed = ("stages=two_step", "optimizer=sgd", "optimizer.lr=0.3", "weights.scaling=mean", "init_from=before")
    first, last = each(*typed)
    assert (first.config.weights.name, last.config.weights.name) == ("real", "sign")
    assert last.config.weights.scaling == "mean"  # of which real weights have none
    assert (first.config.init_from, last.config.init_from) == ("before", "stage1")
    assert [stage.config.optimizer.lr for stage in (first, last)] == [0.3, 0.3]
    assert [stage.config.stages.each for stage in (first, last)] == [[], []]
    assert (first.choices["weights"], first.choices["stages"]) == ("real", "none")


def test_the_later_override_wins():
    typed = ("stages.each=[['trainer.epochs=2','init_from=null'],['init_from=null'],['init_from=stage1']]", "trainer.epochs=5")
    found = each(*typed, "init_from=before")
    assert [stage.config.trainer.epochs for stage in found] == [2, 5, 5]
    assert [stage.config.init_from for stage in found] == [None, None, "stage1"]


def test_without_stages_nothing_is_composed(monkeypatch):
    config = composed()
    monkeypatch.setattr(compose_module, "checked", None)
    assert stages.composed(config, []) == []


def test_a_method_can_do_without_its_stages():
    assert each("method=reactnet", "stages=none") == []


@pytest.mark.parametrize(("name", "bits"), [("reactnet", ["real", "real", "bireal"]), ("real2binary", ["real"] * 3 + ["sign"])])
def test_the_stages_of_a_method(name, bits):
    found = each(f"method={name}")
    assert [stage.choices["weights"] for stage in found] == bits
    assert [stage.choices["stages"] for stage in found] == ["none"] * len(bits)
    teachers = [getattr(stage.config.distill, "teacher", None) for stage in found]
    assert teachers == {"reactnet": [None, "stage1", "stage1"], "real2binary": [None, "stage1", "stage2", "stage3"]}[name]
    starts = {"reactnet": [None, None, "stage2"], "real2binary": [None, "stage1", "stage2", "stage3"]}[name]
    assert [stage.config.init_from for stage in found] == starts


OF_THE_RUN = (*FREE, "stages", "hydra.run.dir", "resume", "plugins")


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        (["weigths=real"], "weigths=real: there is no such key; did you mean weights?"),
        (["weights=reel"], "weights=reel: must be one of bayesbinn, "),
        (["trainer.epochs=x"], "trainer.epochs=x: must be a whole number of at least 1"),
        (["trainer.epochs=0"], "trainer.epochs=0: must be a whole number of at least 1"),
        (["optimizer.lr=-1"], "optimizer.lr=-1.0: must be a number above 0"),
        (["weights=binary"], "weights=binary: weights=binary and optimizer=bop go together"),
        (["ste=none", "ste.clip=2"], "ste.clip=2: ste=none takes ste.stochastic, ste.activation; ste.clip is a key of ste=clipped"),
        (["data=mnist"], "data=mnist: all stages are on the same images; type it for the whole run"),
        (["init_from=stage1"], "init_from=stage1: is not an earlier stage: there is no earlier one"),
        (["distill=logits", "distill.teacher=stage5"], "distill.teacher=stage5: there is no such stage: there is no earlier one"),
        *(([f"{key}=1"], f"{key}=1: holds for the whole run; type it there") for key in OF_THE_RUN),
    ],
)
def test_what_is_wrong_in_a_stage_names_it(overrides, wrong):
    config = replace(composed(), stages=StagesConfig("mine", [overrides, []]))
    with pytest.raises(ConfigError) as refused:
        stages.composed(config, [])
    assert str(refused.value).startswith(f"stages.each: stage 1, [{', '.join(overrides)}]: {wrong}")
    assert causes(refused.value) <= 2  # an endless chain of them would hang whatever follows it


def causes(error):
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__
    assert error is None
    return len(seen)


def test_a_single_stage_and_what_is_no_override_are_refused(line):
    assert line("stages.each=[[]]") == "stages.each=[[]]: is a single stage; a run in stages has two or more"
    assert line("stages.each=[[],[ste]]") == "stages.each: stage 2, [ste]: ste: is not key=value, as in weights=real"
    assert (
        line("stages=two_step", "stages.each=[]")
        == "stages.each=[]: leaves stages=two_step without any; one training is stages=none"
    )
    must_be = "must be a list of lists of overrides, each in quotes, as in [['weights=real'],[]]"
    for typed in ("[a,b]", "[[weights=real],[]]", "[[model.hidden=[7,7]],[]]"):
        assert line(f"stages.each={typed}") == f"stages.each={typed}: {must_be}"


def test_stages_of_ones_own_and_their_options(tmp_path):
    for group, text in (
        ("stages", "name: mine\neach:\n  - [weights=soft]\n  - []\n"),
        ("weights", "defaults: [real, _self_]\nclip: 2.0\n"),
    ):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{'mine' if group == 'stages' else 'soft'}.yaml").write_text(text)
    with compose_module.apart():
        config, whole = compose_module.checked([f"hydra.searchpath=['{tmp_path}']", "stages=mine"])
    folders = stages.folders(whole.hydra.runtime.config_sources)
    assert folders == [str(tmp_path)]
    assert stages.composed(config, ["stages=mine"], folders)[0].config.weights.clip == 2.0
