import json
import sys

import pytest

from zsrobust.cli.main import main


@pytest.mark.parametrize("command", ["report", "leaderboard"])
def test_what_cannot_be_done_is_one_sentence(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for argv, said in (
        ([], "required: RUN"),
        (["empty"], "empty is no run folder"),
        (["nowhere"], "nowhere is not a folder"),
        (["empty", "--ou", "x"], "there is no option --ou; did you mean --out"),
    ):
        assert main([command, *argv]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.fixture
def run(tmp_path):
    """A folder with a gallery alone, for a report."""
    import numpy as np

    from zsrobust.evaluation.gallery import Gallery, Item, Prediction, View

    pixels = np.zeros((3, 4, 4), dtype=np.float32)
    said = {"m": Prediction("cat", 1.0, True)}
    item = Item("d", "s", "cat", [View("", pixels, said), View("m", pixels, said)])
    folder = tmp_path / "run"
    folder.mkdir()
    Gallery("pgd-10 1/255", {"m": "original"}, "All.", [item]).write(folder / "gallery.npz")
    return folder


def test_a_report_is_written_and_told(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["report", str(run), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "page": str(out / "report.html"),
        "files": [str(out / "files" / name) for name in ("gallery.png", "gallery.svg")],
    }
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"report: {out / 'report.html'}")


def test_help_needs_no_drawing(capsys):
    before = set(sys.modules)
    for command in ("report", "leaderboard"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert "RUN" in capsys.readouterr().out
    assert not {name for name in set(sys.modules) - before if name.startswith("jinja2")}
