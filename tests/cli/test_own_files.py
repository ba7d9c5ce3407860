"""A YAML file of the user's own: what is wrong in it, and in which line."""

import pytest

HEAD = "defaults: [mlp, _self_]\n"
WHOLE = "# @package _global_\n"


MODELS = "binarynet, cnn, lenet, mlp, resnet18, resnet20, vgg_small"


@pytest.fixture
def with_file(line, tmp_path):
    """with_file("model", content) is the line of `bnn-train -cd my model=mine`, where my/model/mine.yaml holds the content."""

    def function(group, content, *typed):
        (tmp_path / "my" / group).mkdir(parents=True)
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "my" / group / "mine.yaml").write_bytes(content)
        return line("-cd", "my", f"{group}=mine", *typed)

    return function


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name: mlp\nhidden: [16,\n", "line 2: ends before a bracket or a quote is closed"),
        ("name: mlp\nhidden: [16\nname: x\n", "line 2: the [ is not closed by a ]"),
        ("name: mlp\nhidden: [16]\nhidden: [32]\n", "line 3: the key hidden stands there twice; leave one out"),
        ("name: mlp\n\thidden: [16]\n", "line 2: holds a tab; YAML is indented with spaces"),
        (f'{HEAD}dropout: "0.1\n', "line 2: the quote is not closed"),
        (f"{HEAD}hidden [16]\n", "line 2: a key needs a colon and a space after it"),
        (f"{HEAD}hidden: [16]: 3\n", "line 2: has a second colon;"),
        (f"{HEAD} hidden: [1]\ndropout: 0\n", "line 2: is indented otherwise than the lines around it"),
        (f"{HEAD}hidden: *a\n", "line 2: found undefined alias 'a'; a value that begins with a sign stands in quotes"),
        (f"{HEAD}dropout: !!python/object:os.system {{}}\n", "line 2: names a type with !; leave it out"),
        (HEAD.encode() + b"# caf\xe9\n", "line 2: is not UTF-8, in which YAML is written; save it as UTF-8"),
        (HEAD.encode("utf-16"), "line 1: is not UTF-8"),
        (f"{HEAD}hidden: [16]\x00\n", "line 2: holds a character that YAML does not allow; delete it"),
        ("- 1\n- 2\n", "line 1: is a list, where keys and values are needed, as in KEY: VALUE"),
        ("hello\n", "line 1: is a single value, where keys and values are needed, as in KEY: VALUE"),
        ("defaults: mlp\n", "line 1: defaults must be a list, as in defaults: [OPTION, _self_]"),
        ("defaults: [5, _self_]\n", "line 1: 5 is no entry of defaults; an option is a word, or GROUP: WORD"),
        ("defaults: [mine, _self_]\n", "line 1: names itself, mine, among its defaults; name another option"),
    ],
)
def test_a_file_that_is_no_option(with_file, content, expected):
    assert with_file("model", content).startswith(f"model=mine: my/model/mine.yaml, {expected}")


@pytest.mark.parametrize(
    ("group", "content", "expected"),
    [
        ("stages", "each:\n  - weights=real\n  - ste=none\n", "stages.each=[weights=real,ste=none]: must be a list of lists of ov"),
        ("stages", "each: [[weights=real], ste=none]\n", "stages.each=[[weights=real],ste=none]: must be a list of lists of ov"),
        ("model", "defaults: [cnn, _self_]\nstages: [8, 8]\n", "model.stages=[8,8]: must be a list of lists of whole numbers "),
    ],
)
def test_a_list_where_a_list_of_lists_belongs(with_file, content, group, expected):
    said = with_file(group, content)
    assert said.startswith(expected)
    assert said.endswith(f"(my/{group}/mine.yaml, line {2 if group == 'model' else 1})")


def test_an_override_with_a_list_in_it_stands_in_quotes(with_file):
    said = with_file("stages", "name: a\neach:\n  - [model.hidden=[7,7]]\n  - []\n")
    wrong = "a text with brackets in it stands in quotes, as in ['model.hidden=[7,7]']"
    assert said == f"stages=mine: my/stages/mine.yaml, line 3: {wrong}"


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_an_empty_file(with_file, content):
    expected = (
        "model=mine: my/model/mine.yaml: is empty; begin it with defaults: [binarynet, _self_], of which it then takes the keys"
    )
    assert with_file("model", content) == expected


@pytest.mark.parametrize("content", ["hidden: [16,16]\n", "name: mlp\nhidden: [16,16]\n"])
def test_a_file_that_takes_the_keys_of_no_option(with_file, content):
    assert with_file("model", content).startswith(
        "model=mine: my/model/mine.yaml: names no option whose keys it takes; begin it with"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hidden: many", "model.hidden=many: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("hidden: [16, many]", "model.hidden=[16,many]: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("hidden:", "model.hidden=null: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("hidden: [0]", "model.hidden=[0]: every number must be a whole number of at least 1"),
        ("dropout: 1,5", "model.dropout=1,5: must be a number in [0, 1)"),
        ("dropout: .nan", "model.dropout=nan: must be a finite number"),
        ("hiden: [16]", "model.hiden: there is no such key; did you mean model.hidden?"),
        ("hidden: ${nope}", "model.hidden: there is no key nope from which ${nope} could be taken"),
        (
            "stages: [[8]]",
            "model.stages: model=mlp takes model.hidden, model.dropout, model.binarize_input, model.binarize_output; model.stages",
        ),
    ],
)
def test_a_key_or_value_that_is_wrong(with_file, content, expected):
    said = with_file("model", f"{HEAD}{content}\n")
    assert said.startswith(expected)
    assert said.endswith(" (my/model/mine.yaml, line 2)")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "trainer:\n  epochs: five\n",
            "trainer.epochs=five: must be a whole number of at least 1 (my/experiment/mine.yaml, line 3)",
        ),
        (
            "trainer:\n  epoch: 5\n",
            "trainer.epoch: there is no such key; did you mean trainer.epochs? (my/experiment/mine.yaml, line 3)",
        ),
        ("trainr:\n  epochs: 5\n", "trainr: there is no such key; did you mean trainer? (my/experiment/mine.yaml, line 2)"),
        ("lr: 0.1\n", "lr: there is no such key; did you mean optimizer.lr? (my/experiment/mine.yaml, line 2)"),
        ("seed: -1\n", "seed=-1: must be a whole number of at least 0, below 2^63 (my/experiment/mine.yaml, line 2)"),
        ("trainer: 5\n", "trainer=5: is a group; choose its option under defaults, as in  override /trainer: default, or set keys"),
        ("model: cnn\n", "model=cnn: is a group; choose its option under defaults, as in  override /model: cnn, or set keys below"),
        (
            "defaults:\n  - /model: cnn\n",
            "experiment=mine: my/experiment/mine.yaml, line 3: the group model has its option already; write ",
        ),
        (
            "defaults:\n  - override /modle: cnn\n",
            "modle: there is no such key; did you mean model? (my/experiment/mine.yaml, line 3)",
        ),
        (
            "defaults:\n  - override /model: cnnn\n",
            f"model=cnnn: must be one of {MODELS}; did you mean cnn? (my/experiment/mine.yaml, line 3)",
        ),
        ("defaults:\n  - override /scheduler: null\n", "scheduler: must be one of constant, cosine,"),
        ("trainer.epochs: 1\n", "trainer.epochs: there is no such key; in a file trainer stands on a line of its own"),
    ],
)
def test_an_experiment_that_is_wrong(with_file, content, expected):
    assert with_file("experiment", WHOLE + content).startswith(expected)


def test_an_experiment_without_its_package(with_file):
    said = with_file("experiment", "trainer:\n  epochs: 1\n")
    assert said.startswith("experiment=mine: my/experiment/mine.yaml: its first line must be  # @package _global_ ")


def test_a_name_among_the_defaults_that_there_is_not(with_file):
    said = with_file("model", "defaults: [mpl, _self_]\n")
    assert said == f"model=mpl: must be one of {MODELS.replace('mlp', 'mine, mlp')}; did you mean mlp? (my/model/mine.yaml, line 1)"


def test_what_is_typed_is_not_said_of_the_file(with_file):
    assert with_file("model", f"{HEAD}hidden: [8, 8]\n", "model.dropout=2") == "model.dropout=2.0: must be in [0, 1)"


def test_a_file_of_another_suffix_and_a_folder_too_deep(line, tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yml").write_text(HEAD)
    said = "; my/model/mine.yml would be one if its name ended in .yaml"
    assert line("-cd", "my", "model=mine") == f"model=mine: must be one of {MODELS}{said}"
    (tmp_path / "my" / "model" / "mine.yml").rename(tmp_path / "my" / "model" / "mine.yaml")
    assert line("-cd", "my/model", "model=mine").endswith("; -cd takes the folder above model/, so type -cd my")
    assert line("-cd", "my", "model=mine") == ""


def test_a_byte_order_mark_is_no_mistake(with_file):
    assert with_file("model", b"\xef\xbb\xbf" + HEAD.encode()) == ""
