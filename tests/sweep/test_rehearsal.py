"""The paper's experiment, rehearsed with a tiny model, whole and killed in every phase."""

import contextlib
import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
import yaml

from zsrobust.cli.main import main
from zsrobust.data.published.sets import paper_sets
from zsrobust.evaluation.results import Results
from zsrobust.sweep.plan_file import plan_path
from zsrobust.sweep.rehearsal import attacked_by_part, rehearse
from zsrobust.sweep.run_study import show_study

slow = pytest.mark.slow


@slow
def test_the_whole_experiment(small_clip, tmp_path, capsys, monkeypatch):
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    argv = ["--json", "reproduce", "paper", "--rehearse", "--model", small_clip]
    assert main(argv) == 0
    shown = json.loads(capsys.readouterr().out)
    out = tmp_path / "runs/rehearse-paper"
    # All six models, once for each way to see pixels, on all sixteen sets, in both evaluations.
    kinds = {known.kind for known in paper_sets()}
    for name, attacks in (("equal-steps", {"pgd-10", "cw-10"}), ("autoattack", {"autoattack-2"})):
        results = Results.read(out / "results" / name / "results.json")
        models = {row.model for row in results.rows}
        systems = yaml.safe_load(plan_path("paper").read_text("utf-8"))["systems"]
        assert models == {"original", "original-2", *(f"{one}-seed-0" for one in systems)}
        rows = {(row.model, row.dataset, row.attack) for row in results.rows}
        assert rows == {(m, d, a) for m in models for d in kinds for a in attacks}
        assert {row.n for row in results.rows} == {2}
        # Nobody takes it for a result.
        assert any(f.check == "images are the published ones" for f in results.findings)
    assert all(count == 0 for count in shown["missing"].values())
    assert (out / "tables.md").read_text("utf-8").startswith("**A rehearsal, no results.**")
    assert "a rehearsal, no results" in (out / "report/report.html").read_text("utf-8")
    for table in (out / "report/files").glob("*paper.tex"):
        assert "A rehearsal, no results." in table.read_text("utf-8")
    for figure in out.glob("*.svg"):
        assert "rehearsal" in figure.read_text("utf-8")
    # The claim of the paper, for both presets under each attack.
    text = (out / "tables.md").read_text("utf-8")
    assert text.partition("## claims")[2].count("\n- ") == 2 * 3
    assert (out / "stages.md").read_text("utf-8").splitlines() == shown["stages"]
    # Shown again from the saved files alone, it is still marked.
    assert show_study(out).text == text


@pytest.fixture
def small_plan(tmp_path):
    """The plan with two systems and three sets, one of two classes and one of ten."""
    plan = yaml.safe_load(plan_path("paper").read_text("utf-8"))
    plan["systems"] = {name: plan["systems"][name] for name in ("tecoa", "pmg_aft_paper")}
    plan["claims"] = ["pmg_aft_paper"]
    sets = [
        f"{kind}:{tmp_path}/out/miniature/{kind}" for kind in ("cifar10", "pcam", "oxford-pets")
    ]
    for name in ("pgd", "autoattack"):
        plan["rehearsal"]["evaluate"][name] |= {"data": sets, "samples": 20}
    plan["rehearsal"]["finetune"] |= {"steps": 4, "checkpoint_every": 1, "batch_size": 8}
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


PHASES = {
    "training": "runs/*/checkpoints/*",
    "PGD evaluation": "evaluations/*/parts/*",
    "AutoAttack evaluation": "evaluations-autoattack/*/parts/*",
    "tables": "tables.md",
}


@slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_in_every_phase_it_ends_with_the_same_tables(small_clip, small_plan, tmp_path):
    pytest.importorskip("h5py")
    out = tmp_path / "out"
    fork = multiprocessing.get_context("fork")

    def work():
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        rehearse(small_plan, out, model=small_clip)

    def run_until(pattern):
        process = fork.Process(target=work)
        process.start()
        while process.is_alive() and not (pattern and any(out.glob(pattern))):
            time.sleep(0.002)
        process.kill() if pattern else None
        process.join(300)
        return process.exitcode

    for phase, pattern in PHASES.items():
        assert run_until(pattern) == -9, f"it ended before the phase {phase}"
    assert run_until(None) == 0
    resumed = {name: Results.read(out / f"results/{name}/results.json").rows for name in NAMES}
    text, tex = (out / "tables.md").read_text("utf-8"), paper_tables(out)

    (tmp_path / "out").rename(tmp_path / "killed")
    # The sets stay where they were, so that both runs read the same files.
    out.mkdir()
    (tmp_path / "killed/miniature").rename(out / "miniature")
    assert run_until(None) == 0
    assert (out / "tables.md").read_text("utf-8") == text
    assert paper_tables(out) == tex
    for name, rows in resumed.items():
        assert Results.read(out / f"results/{name}/results.json").rows == rows


NAMES = ("equal-steps", "autoattack")


def paper_tables(out: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in (out / "report/files").glob("*.tex")}


def test_samples_that_each_part_attacked(toy_run):
    run = toy_run(
        [("a", "clean"), ("a", "apgd-ce"), ("a", "fab-t"), ("a", ""), ("b", "square"), ("b", "")],
        {"a": ["apgd-ce", "apgd-t", "fab-t", "square"], "b": ["apgd-ce", "fab-t", "square"]},
    )
    # Of a: three right at first, two after APGD, one after FAB. b has too few classes for apgd-t.
    assert attacked_by_part(run) == {"apgd-ce": 5, "apgd-t": 2, "fab-t": 4, "square": 3}


@pytest.fixture
def toy_run():
    import pyarrow as pa

    class Run:
        def __init__(self, outcomes, parts):
            columns = {
                "dataset": [of for of, _ in outcomes],
                "attack": ["autoattack-2"] * len(outcomes),
                "fell_to": [to for _, to in outcomes],
            }
            self.outcomes = pa.table(columns)
            attack = {
                of: {"name": "autoattack-2", "parts": [{"name": p} for p in names]}
                for of, names in parts.items()
            }
            data = {of: {"attacks": [one]} for of, one in attack.items()}
            self.results = type("Results", (), {"protocol": {"data": data}})()

    return Run


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["glyphs", "--rehearse"], "--rehearse is for paper: glyphs has no rehearsal"),
        (["paper", "--rehearse", "--dry-run"], "leave --dry-run out"),
        (["paper", "--rehearse", "--show"], "holds nothing to show yet"),
        (["paper", "nowhere", "--rehearse"], "there is no folder nowhere: leave it out"),
        (["paper", "a", "b", "--rehearse"], "takes one folder, given: a b"),
        (["paper", "--rehearse", "--model", "ViT-B-23/openai"], "did you mean ViT-B-32/openai"),
        (["glyphs", "--model", "glyph-clip"], "--model is for --rehearse"),
    ],
)
def test_bad_requests_are_refused(argv, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):
        assert main(["reproduce", *argv]) == 2
    assert sentence in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
