"""The plan of all methods and adapters: its contents, and a run at a size of seconds."""

from pathlib import Path

import pytest
import torch
import yaml
from experiments.__main__ import main

from experiments import __main__ as command
from zsrobust.data.specification import parse_specification
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.models.loading import load
from zsrobust.sweep import search
from zsrobust.sweep.plan_file import load_study
from zsrobust.sweep.run_study import Shown, run_study
from zsrobust.training.cost import passes_per_step
from zsrobust.training.encoder import Student

PLAN = Path(__file__).parents[2] / "experiments" / "methods.yaml"
TITLES = {"ft_clean": "FT-Clean", "tecoa": "TeCoA", "pmg_aft-paper": "PMG-AFT (paper)"}


@pytest.fixture
def toy(small_clip, photos, tmp_path):
    train, one = photos("train", 4, 8), photos("one", 3, 4)
    plan = yaml.safe_load(PLAN.read_text("utf-8"))
    plan["finetune"] |= {"model": small_clip, "data": f"imagefolder:{train},name=shown"}
    plan["finetune"] |= {"steps": 2, "batch_size": 8, "hold_out": 0.2, "evaluate_every": 2}
    plan["finetune"]["optimizer"] = {"warmup_steps": 0}
    sets = [f"imagefolder:{one}"]
    plan["evaluate"]["pgd"] = {"data": sets, "attack": ["pgd-2"], "eps": ["4/255"]}
    plan["evaluate"]["autoattack"] |= {"data": sets, "attack": ["pgd-3"], "samples": 4}
    plan |= {"seeds": [0, 1], "search_from": 0.01}
    names = (*TITLES, "pmg_aft-paper-ema")
    plan["systems"] = {name: plan["systems"][name] for name in names}
    for comparison in plan["comparisons"].values():
        comparison["systems"] = [name for name in comparison["systems"] if name in names]
        if "best" in comparison:
            comparison["best"] = 2
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return load_study(path, tmp_path / "out")


def rows_of(text, title):
    part = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|") for line in part.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: row for row in rows}


@pytest.mark.slow
def test_its_tables(toy, monkeypatch):
    monkeypatch.setattr(search, "FARTHEST", 1)
    shown = run_study(toy)
    assert set(shown.missing.values()) == {0}
    assert {"original", *TITLES.values()} <= set(rows_of(shown.text, "methods"))
    adapters = rows_of(shown.text, "adapters")
    assert {"PMG-AFT (paper)", "EMA, decay 0.99", "PMG-AFT (paper), WiSE-FT at 0.5"} <= set(
        adapters
    )

    # The headline is of those that the held-out images put first, with every seed.
    scores = {name: max(rates.values()) for name, rates in toy.search.scores().items()}
    best = sorted(TITLES, key=lambda name: -scores[name])[:2]
    for title in ("headline", "headline autoattack"):
        rows = rows_of(shown.text, title)
        assert {TITLES[name] for name in best} <= set(rows)
        assert {rows[TITLES[name]][4] for name in best} == {"2"}

    # An interpolation is of the very run beside it, and is not trained.
    run = EvaluatedRun.read(toy.out / "results" / "adapters")
    wise = next(name for name in run.models if "wise-0.5" in name)
    assert run.results.protocol["models"][wise]["method"].startswith("wise(pmg_aft[paper]")
    assert not any("wise" in folder.name for folder in (toy.out / "runs").iterdir())


@pytest.mark.slow
def test_every_adapter_trains_a_part_of_glyph_clip(tmp_path):
    study = load_study(PLAN, tmp_path)
    for name in study.comparisons["adapters"].systems:
        config = study.systems[name].config
        model = load(config.model)
        tower = model.adapted_encoder(config.adapter.made, 0)
        student = Student(tower, model.preprocessing)
        trained = sum(one.numel() for one in student.parameters() if one.requires_grad)
        whole = sum(one.numel() for one in load(config.model).encoder.parameters())
        assert 0 < trained <= whole
        assert (trained == whole) == (config.adapter.kind == "full")
        assert torch.isfinite(student({"clean": torch.rand(1, 3, 64, 64)})[0]["clean"]).all()


def test_what_cannot_be_run_is_refused(tmp_path, capsys):
    assert main(["methods", "--show", "--out", str(tmp_path / "none")]) == 2
    assert "holds nothing to show yet" in capsys.readouterr().err
    for argv, message in (
        (["moon"], "'moon'"),
        (["recipe"], "recipe is finished"),
        (["guidance"], "guidance needs the folder of its data sets"),
        (["methods", "data"], "methods reads no folder of data sets: leave data out"),
        (["recipe", "data", "--show"], "recipe reads no folder of data sets"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_what_guidance_is_selected_on_has_no_say_in_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(PLAN.parents[1])
    for name in ("dtd-10", "oxford-pets"):
        (tmp_path / "photo-suite" / name).mkdir(parents=True)
        (tmp_path / "photo-suite" / name / "templates.txt").write_text("a photo of a {}.\n")
    study = load_study(PLAN.with_name("guidance.yaml"), tmp_path, tmp_path, partial=True)
    selected = {parse_specification(one).path for one in study.select.data}
    for evaluation in study.evaluations.values():
        assert not selected & {parse_specification(one).path for one in evaluation.data}
    trained = parse_specification(study.systems["pmg_aft"].config.data)
    assert trained.classes == 180
    assert next(parse_specification(one).classes for one in study.select.data) == -20
    # No step is more than an eleventh dearer than PMG-AFT's.
    passes = {name: passes_per_step(one.config) for name, one in study.systems.items()}
    assert max(passes.values()) <= passes["pmg_aft"] * 12 / 11


def test_results_are_shown_from_the_own_run_or_else_as_committed(tmp_path, monkeypatch):
    shown = []

    def show(out, _):
        shown.append(out)
        return Shown(out / "tables.md", "", [], {})

    monkeypatch.setattr(command, "show_study", show)
    monkeypatch.chdir(tmp_path)
    assert main(["methods", "--show"]) == 0
    assert (shown[0] / "results" / "comparisons.json").is_file()
    (tmp_path / "runs" / "methods").mkdir(parents=True)
    assert main(["methods", "--show"]) == 0
    assert shown[1].resolve() == tmp_path / "runs" / "methods"
