"""Sweeps on a random CLIP, from argv to table and plot."""

import pytest

from zsrobust.cli.commands.sweep import parse_sweep
from zsrobust.cli.main import main
from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.sweep.dry_run import dry_run_sweep
from zsrobust.sweep.gather import COLUMNS
from zsrobust.sweep.jobs import Training
from zsrobust.sweep.run import run_sweep
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


def test_a_sweep_ends_as_if_all_had_been_evaluated_together(argv, tmp_path, monkeypatch):
    sweep = parse_sweep(["tecoa", "pmg_aft", "--seeds", "0", "1", *argv])
    swept = run_sweep(sweep)
    names = ["original", *(f"{r}-seed-{s}" for r in ("tecoa", "pmg_aft") for s in (0, 1))]
    assert swept.run.models == names

    folders = [str(tmp_path / "out" / "runs" / name) for name in names[1:]]
    evaluate(
        EvaluateConfig(
            model=folders,
            data=sweep.evaluation.data,
            attack=["pgd-2"],
            eps=["4/255"],
            out=str(tmp_path / "together"),
        )
    )
    as_one = EvaluatedRun.read(tmp_path / "together")

    def figures(run):
        order = {name: index for index, name in enumerate(run.models)}
        return sorted(
            (row.dataset, order[row.model], row.method, row.clean_acc, row.robust_acc, row.key)
            for row in run.results.rows
        )

    assert figures(swept.run) == figures(as_one)
    assert swept.run.outcomes.num_rows == as_one.outcomes.num_rows
    assert tuple(swept.run.outcomes.column_names) == COLUMNS
    assert as_one.results.protocol["attacks"] == swept.run.results.protocol["attacks"]
    for row in swept.run.results.rows:
        assert swept.run.right(row)[1].mean() == pytest.approx(row.clean_acc)

    lines = swept.table.groups[0]
    assert [line[0] for line in lines] == ["original", "tecoa", "pmg_aft"]
    assert [line[2:6] for line in lines] == [
        ["", "", "1", "22"],
        ["2", "14", "2", "22"],
        ["2", "22", "2", "22"],
    ]
    mean = [
        average.clean_acc
        for average in swept.run.results.averages
        if average.model.startswith("tecoa") and average.over == "unseen"
    ]
    assert lines[1][6].startswith(f"{50 * sum(mean):.1f} (")
    assert [path.name for path in swept.figures] == [
        "tradeoff-pgd-2-4-255.png",
        "tradeoff-pgd-2-4-255.svg",
    ]
    assert swept.table_file.read_text().startswith("| model |")

    # The same again answers from its files.
    monkeypatch.setattr(Training, "run", None)
    assert run_sweep(sweep).table == swept.table


def test_a_diverged_run_is_left_out_and_reported(argv, tmp_path, capsys):
    argv = ["sweep", "ft_clean", "tecoa", *argv, "--optimizer.lr", "1e30"]
    assert main(argv) == 1
    said = capsys.readouterr()
    assert "2 runs diverged: ft_clean-seed-0, tecoa-seed-0" in said.err
    assert "original" in said.out
    assert "ft_clean-seed-0 left no model: " in said.out
    # Nothing is tried twice.
    assert main(argv) == 1


def test_a_folder_of_another_sweep_is_refused(argv, tmp_path):
    run_sweep(parse_sweep(["ft_clean", *argv]))
    with pytest.raises(RequestError, match=r"holds another run \(optimizer\.lr"):
        run_sweep(parse_sweep(["ft_clean", *argv, "--optimizer.lr", "0.5"]))


def test_missing_data_is_refused_before_training(argv, tmp_path):
    argv = [*argv, "--evaluation.data", f"imagefolder:{tmp_path / 'nowhere'}"]
    with pytest.raises(RequestError, match="nowhere"):
        run_sweep(parse_sweep(["ft_clean", *argv]))
    assert not (tmp_path / "out" / "runs").exists()


def test_help_and_bad_words(capsys):
    assert main(["sweep", "--help"]) == 0
    assert "zsrobust sweep RECIPE" in capsys.readouterr().out
    assert main(["sweep", "tecoa", "--seeds", "x"]) == 2


def test_a_dry_run_says_what_is_left_and_writes_nothing(argv, tmp_path):
    sweep = parse_sweep(["tecoa", "ft_clean", "--seeds", "0", "1", *argv])
    found = dry_run_sweep(sweep)
    assert not (tmp_path / "out").exists()
    # Five evaluations and four trainings.
    assert "0 of 9 runs are finished" in found.lines[0]
    # Two steps of eight images each, 7 and 3 passes.
    assert found.passes > 2 * 2 * 8 * (7 + 3)
    assert 0 < found.seconds <= found.most_seconds
    run_sweep(sweep)
    found = dry_run_sweep(sweep)
    assert "9 of 9 runs are finished" in found.lines[0]
    assert (found.passes, found.seconds) == (0, 0)
