"""What an evaluation says it would do."""

from pathlib import Path

import pytest

from zsrobust.cli.main import main
from zsrobust.evaluation.dry_run import dry_run_evaluation
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

PROBE = 16 * 15


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_nothing_is_written_and_passes_are_counted(config, tmp_path):
    before = files(tmp_path)
    found = dry_run_evaluation(config())
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()
    # 15 images: one pass clean, and at two radii three steps of two passes and one for the result.
    assert found.passes == 15 * (1 + 2 * (3 * 2 + 1)) + 2 * PROBE
    assert 0 < found.seconds <= found.most_seconds
    assert found.memory > 1e7
    text = "\n".join(found.report())
    assert "one/all, n 6, 3 classes at 32 px" in text
    assert "pgd-3 2/255" in text
    assert "steps 3" in text
    assert text.count("new") == 1


def test_passes_of_a_defence_are_counted(config, small_clip):
    defended = f"crop_voting({small_clip}, crops=3)"
    around, through = (f"transfer(pgd-3, {name})" for name in (small_clip, defended))
    found = dry_run_evaluation(
        config(model=[defended], eps=[Eps("2/255")], attack=["pgd-3", around, through, "noise-4"])
    )
    # An answer takes 3 passes, and each of a gradient's 6 as many.
    undefended = 1 + (3 * 2 + 1) + (3 * 2 + 1) + (6 * 3 + 1) + (4 + 1)
    behind = 3 + (6 * 3 + 3) + (3 * 2 + 3) + (6 * 3 + 3) + (4 * 3 + 3)
    assert found.passes == 15 * (undefended + behind) + (1 + 3) * 2 * PROBE
    # What is inside is told as the attack outside is.
    (told, _) = [line for line in found.lines if line.startswith("  transfer(")]
    assert f"attack pgd-3 (steps 3, step_size {Eps(5 / 3 / 255)}, " in told
    assert "surrogate " in told
    judged = dry_run_evaluation(
        config(model=[defended], eps=[Eps("2/255")], attack=["pgd-3"], draws=5, baseline=False)
    )
    # Clean and attacked, by its own draw and five of either set.
    assert judged.passes == 15 * (2 * 11 * 3 + 6 * 3) + 3 * 2 * PROBE


def test_what_is_computed_is_done(config, tmp_path):
    evaluate(config())
    found = dry_run_evaluation(config())
    assert (found.passes, found.seconds) == (0, 0)
    assert any(line.endswith("finished") for line in found.lines)
    again = dry_run_evaluation(config(overwrite=True))
    assert again.passes > 0
    assert (tmp_path / "out" / "results.json").exists()


def test_it_is_refused_as_the_evaluation_is(config):
    with pytest.raises(RequestError, match="nowhere"):
        dry_run_evaluation(config(data=["imagefolder:/nowhere"]))
    evaluate(config())
    with pytest.raises(RequestError, match="holds another run"):
        dry_run_evaluation(config(attack=["pgd-2"]))


def test_the_command_takes_the_option(config, tmp_path, capsys):
    asked = config()
    argv = ["evaluate", "--model", asked.model[0], "--data", *asked.data, "--device", "cpu"]
    argv += ["--out", str(tmp_path / "out"), "--dry_run"]
    assert main(argv) == 0
    assert "time here" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
