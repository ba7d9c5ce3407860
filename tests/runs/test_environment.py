import platform
import subprocess

from bnn_train.runs.environment import git_commit, processor, versions


def test_versions_name_what_a_result_depends_on():
    found = versions()
    assert found["python"] == platform.python_version()
    assert {"bnn-train", "torch", "torchvision", "hydra-core", "platform"} < found.keys()


def test_a_processor_has_a_name_also_where_the_system_does_not_tell(tmp_path):
    file = tmp_path / "cpuinfo"
    assert processor(file)
    file.write_text("processor\t: 0\nmodel name\t: Example 7 @ 2 GHz\nmodel name\t: Other\n")
    assert processor(file) == "Example 7 @ 2 GHz"


def test_the_commit_is_that_of_the_checkout_alone(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True
        )

    assert git_commit(tmp_path) is None
    git("init")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    commit = git_commit(tmp_path)
    assert len(commit) == 40
    assert git_commit(tmp_path / "inner") is None
    (tmp_path / "inner" / "file").write_text("2")
    assert git_commit(tmp_path) == commit + "+changes"
