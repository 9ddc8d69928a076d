import json
import re
from pathlib import Path

import pytest

from zsrobust.cli.main import main
from zsrobust.reporting.inputs import read_inputs
from zsrobust.reporting.leaderboard import our_boards
from zsrobust.utils.errors import RequestError


@pytest.fixture
def bundled(made_run, here, capsys):
    """Makes a run, bundles it, and returns the file's name."""

    def make(name, **options):
        made_run(here / name, **options)
        assert main(["bundle", name]) == 0
        capsys.readouterr()
        return f"{name}.zip"

    return make


def boards(folder):
    return our_boards(read_inputs([folder]).evaluations)


def test_a_bundle_becomes_a_row_that_is_ranked(bundled, here, capsys):
    assert main(["verify", bundled("one"), "--add", "board"]) == 0
    said = capsys.readouterr().out
    assert "agrees: accuracies, intervals and counts are those of the outcomes" in said
    assert "not checked: that the weights" in said
    (path,) = (here / "board").iterdir()
    assert path.name.startswith("runs-tecoa-")
    assert path.name.endswith(".entry.json")
    assert main(["leaderboard", "board", "--out", "page.html"]) == 0
    page = (here / "page.html").read_text()
    assert "the model was not asked again" in page
    assert set(re.findall(r'class="tag">([^<]+)<', page)) == {"verified bundle", "as printed"}
    assert "zsrobust evaluate --model runs/tecoa --data cifar10:data/cifar10" in page
    assert {board.attack for board in boards(here / "board")} == {
        "pgd-10 1/255",
        "autoattack 1/255",
    }


def test_entries_and_run_folders_are_ranked_together(bundled, made_run, here):
    main(["verify", bundled("one"), "--add", "board"])
    other = {"runs/fare": "fare"}
    made_run(here / "own", models=other, attacks=("autoattack",), seed=5)
    found = our_boards(read_inputs([here / "board", here / "own"]).evaluations)
    (board,) = [one for one in found if one.attack.startswith("autoattack")]
    assert {entry.name for entry in board.entries} == {"original", "TeCoA", "FARE"}


def test_threat_models_are_never_in_one_table(bundled, here):
    models = {"runs/a": "tecoa"}
    for seed, radius in enumerate(({}, {"eps": "4/255"}, {"norm": "l2", "eps": "0.5"})):
        name = bundled(f"run-{seed}", models=models, attacks=("autoattack",), seed=seed, **radius)
        assert main(["verify", name, "--add", "board"]) == 0
    found = boards(here / "board")
    assert {one.attack for one in found} == {
        "autoattack 1/255",
        "autoattack 4/255",
        "autoattack l2 0.5",
    }
    assert all(len(one.entries) == 1 for one in found)


def test_the_same_weights_are_added_once_whatever_they_are_called(bundled, here, capsys):
    assert main(["verify", bundled("one"), "--add", "board"]) == 0
    again = {"clip": "original", "runs/other-name": "fare"}
    assert main(["verify", bundled("two", models=again), "--add", "board"]) == 2
    assert "has the same weights under the same attack" in capsys.readouterr().err
    # Other weights, beside the original that is there.
    assert main(["verify", bundled("three", seed=7), "--add", "board"]) == 0
    assert len(list((here / "board").iterdir())) == 2


def test_what_does_not_hold_is_not_added(bundled, here, capsys, repacked):
    weak = bundled("weak", attacks=("pgd-10",))
    assert main(["verify", weak]) == 0
    assert "not for a leaderboard: runs/tecoa at 1/255 on cifar10" in capsys.readouterr().out
    assert main(["verify", weak, "--add", "board"]) == 2
    assert "evaluate with --attack autoattack" in capsys.readouterr().err

    def better(plain):
        plain["results"][0]["robust_acc"] = 0.9

    (here / "wrong.zip").write_bytes(repacked((here / bundled("one")).read_bytes(), results=better))
    assert main(["verify", "wrong.zip", "--add", "board"]) == 1
    told = capsys.readouterr()
    assert "contradiction: clip on cifar10, pgd-10 1/255: robust_acc is 0.9" in told.out
    assert told.err.count("\n") == 1
    assert not (here / "board").exists()


def test_json_is_for_machines(bundled, capsys):
    assert main(["--json", "verify", bundled("one")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["contradiction"] == []
    assert len(found["agrees"]) > 5


def test_a_damaged_entry_is_refused(bundled, here):
    main(["verify", bundled("one"), "--add", "board"])
    (path,) = (here / "board").iterdir()
    entry = json.loads(path.read_text())
    for change, said in (
        ({"entry": 2}, "has format 2"),
        ({"results": {}}, "is damaged"),
        ({"request": 3}, "is damaged"),
    ):
        path.write_text(json.dumps({**entry, **change}))
        with pytest.raises(RequestError, match=said):
            boards(here / "board")


def test_what_is_asked_wrongly_is_one_sentence(bundled, here, capsys):
    one = bundled("one")
    (here / "file").write_text("")
    for argv, said in (
        (["nothing.zip"], "cannot be read"),
        (["one"], "is not a file"),
        (["file"], "no whole zip archive"),
        ([one, "--add", "file"], "file is a file"),
        ([one, "--recheck", "5"], "go together"),
        ([one, "--model", "x", "--data", "digits"], "go together"),
        ([one, "--recheck", "0", "--model", "glyph-clip", "--data", "digits"], "1 or more"),
        ([one, "--recheck", "5", "--model", "glyph", "--data", "digits"], "glyph"),
        ([one, "--recheck", "5", "--model", "glyph-clip", "--data", "x:y"], "x"),
        ([one, "--recheck", "5", "--model", "glyph-clip", "--data", "digits"], "is not of digits"),
    ):
        assert main(["verify", *argv]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_entries_of_the_repository_are_ranked():
    folder = Path(__file__).parents[2] / "leaderboard"
    entries = read_inputs([folder]).evaluations
    assert len(entries) == len(list(folder.glob("*.entry.json"))) > 0
    for board in our_boards(entries):
        assert board.entries
