"""What is recorded of where a result was made."""

import subprocess
from importlib.metadata import version

import torch

from zsrobust.utils.environment import environment, record, recorded, source


def git(folder, *argv):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(folder), *who, *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_source_is_a_commit_changed_or_not_or_none(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert source(package) == "installed"
    git(tmp_path, "init", "-q")
    assert source(package) == "installed", "below a repository is not in it"
    git(tmp_path, "add", "package")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert source(package) == f"commit {commit}"
    (package / "__init__.py").write_text("x = 1\n")
    assert source(package) == f"commit {commit} with changes"


def test_a_run_that_moves_records_each_place_once(tmp_path):
    path = tmp_path / "environment.json"
    here = environment(torch.device("cpu"), 2)
    assert (here["torch"], here["processes"]) == (version("torch"), 2)
    assert recorded(path) == []
    for found in (here, here, {**here, "processes": 1}, here):
        record(path, found)
    assert [found["processes"] for found in recorded(path)] == [2, 1, 2]
