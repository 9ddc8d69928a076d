"""A study of seconds, from the search for learning rates to its tables, and the packaged plans."""

import shutil
from dataclasses import replace

import pytest

from zsrobust.cli.main import main
from zsrobust.data.specification import parse_specification
from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.sweep import search
from zsrobust.sweep.jobs import Training
from zsrobust.sweep.plan import run_name
from zsrobust.sweep.plan_file import load_study, plan_path
from zsrobust.sweep.run_study import run_study, show_study
from zsrobust.sweep.search import best_rate
from zsrobust.training.cost import passes_per_step
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError


@pytest.mark.slow
def test_every_table_comes_from_runs_and_again_from_the_saved_files(
    toy_study, tmp_path, monkeypatch
):
    monkeypatch.setattr(search, "FARTHEST", 1)
    study = toy_study()
    found = run_study(study)
    assert found.missing == dict.fromkeys(
        ("equal-steps", "equal-passes", "autoattack", "ablations"), 0
    )
    for title in ("learning rates", "equal steps", "equal passes", "ablations", "autoattack"):
        assert f"## {title}\n" in found.text

    # The rate is the one whose held-out accuracies are best, read here from the runs themselves.
    for name in study.systems:
        scores = {}
        for folder in (tmp_path / "out" / "runs").glob(f"{name}-lr-*-seed-0"):
            if "steps" in folder.name or "alpha" in folder.name:
                continue
            last = read_metrics(folder / "metrics.jsonl")[-1]
            assert (last["kind"], last["step"]) == ("held_out", 2)
            rate = float(folder.name.partition("-lr-")[2].removesuffix("-seed-0"))
            scores[rate] = (last["clean_acc"] + last["robust_acc"]) / 2
        assert len(scores) >= 3
        chosen = best_rate(scores)
        sweep = study.stages()["equal-steps"].sweep
        assert sweep.recipes[f"{name}-lr-{chosen:g}"].optimizer.lr == chosen

    # Equal passes: as many as the reference's steps take.
    stages = study.stages()
    budget = 2 * passes_per_step(study.systems["tecoa"].config)
    for config in stages["equal-passes"].sweep.recipes.values():
        steps, price = config.steps, passes_per_step(config)
        assert steps * price <= budget < (steps + 1) * price or steps == 1

    # The difference to TeCoA is that of the averages over sets and seeds.
    run = EvaluatedRun.read(tmp_path / "out" / "results" / "equal-steps")
    means = {
        name: sum(
            average.clean_acc
            for average in run.results.averages
            if average.over == "unseen" and average.model.startswith(f"{name}-lr")
        )
        / 2
        for name in study.systems
    }
    line = next(
        line
        for line in found.text.partition("## equal steps")[2].splitlines()
        if "PMG-AFT (paper)" in line
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4:6] == ["2", "22"]
    assert cells[6].startswith(f"{100 * means['pmg_aft-paper']:.1f} (")
    gain = 100 * (means["pmg_aft-paper"] - means["tecoa"])
    assert cells[8].startswith(f"{gain:+.1f} (")

    # All of it again without the runs, as from committed files.
    saved = tmp_path / "saved"
    saved.mkdir()
    (tmp_path / "out" / "results").rename(saved / "results")
    again = show_study(saved)
    assert again.text == found.text
    assert [path.name for path in again.figures] == [path.name for path in found.figures]

    # What the files answer is not computed again: without those of AutoAttack, only the models
    # that it attacks are trained once more.
    shutil.rmtree(saved / "results" / "autoattack")
    on = run_study(toy_study("saved"))
    assert set(on.missing.values()) == {0}
    trained = {folder.name for folder in (saved / "runs").iterdir()}
    assert trained == {
        run_name(recipe, seed) for recipe in stages["equal-steps"].sweep.recipes for seed in (0, 1)
    }
    # On the CPU the same seeds give the same weights, and so the same tables.
    assert on.text == found.text

    # Averages are saved beside the lines, and shown without the plan.
    averaged = replace(toy_study("saved"), averages=[Averaged("both", (("one",), ("other",)))])
    text = show_study(saved, averaged).text
    assert "## ablations, by average\n" in text
    assert "Average of 2 (both)" in text
    assert show_study(saved).text == text

    study = toy_study("saved")
    study.evaluations["pgd"] = replace(study.evaluations["pgd"], samples=3)
    with pytest.raises(RequestError, match=r"holds results of .*'samples': None"):
        run_study(study)


def test_a_comparison_may_be_longer_than_the_others(toy_study):
    own, longer = {"reference": "tecoa"}, {"reference": "tecoa", "seeds": 1, "steps": 6}
    study = toy_study(search_from=None, comparisons={"equal-steps": own, "longer": longer})
    first, second = (stage.sweep for stage in study.stages().values())
    assert {config.steps for config in first.recipes.values()} == {2}
    assert {config.steps for config in second.recipes.values()} == {6}
    # What else differs is the evaluation at the end, and the name.
    for name, config in first.recipes.items():
        changed = replace(config, steps=6, evaluate_every=6)
        assert second.recipes[f"{name}-steps-6"] == changed


@pytest.mark.slow
def test_rates_are_selected_on_further_sets(toy_study, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "FARTHEST", 1)
    further = f"imagefolder:{photos('further', 3, 4)},classes=2"
    select = {"data": [further], "attack": ["pgd-2"], "eps": ["4/255"]}
    options = {
        **{"search_steps": 1, "select": select},
        "comparisons": {"equal-steps": {"reference": "tecoa", "seeds": 1}},
    }
    study = toy_study(**options)
    found = run_study(study)
    out = tmp_path / "out"

    def score(run):
        """The mean over held-out images and the further set, read from the run itself."""
        last = read_metrics(run / "metrics.jsonl")[-1]
        assert last["step"] == 1
        (row,) = EvaluatedRun.read(out / "selection" / run.name).results.rows
        assert row.dataset == "further"
        parts = last["clean_acc"], last["robust_acc"], row.clean_acc, row.robust_acc
        return sum(parts) / 4

    for name in study.systems:
        runs = (out / "runs").glob(f"{name}-lr-*-steps-1-seed-0")
        scores = {
            float(run.name.partition("-lr-")[2].partition("-steps")[0]): score(run) for run in runs
        }
        assert len(scores) == 3
        assert study.search.scores()[name] == pytest.approx(scores)
        chosen = f"{name}-lr-{best_rate(scores):g}"
        assert chosen in study.stages()["equal-steps"].sweep.recipes

    saved = tmp_path / "saved"
    saved.mkdir()
    (out / "results").rename(saved / "results")
    assert show_study(saved).text == found.text
    assert run_study(toy_study("saved", **options)).text == found.text
    assert not (saved / "runs").exists()


def test_a_study_without_results_is_reported(tmp_path):
    with pytest.raises(RequestError, match="holds nothing to show yet"):
        show_study(tmp_path / "empty")


@pytest.mark.parametrize("name", ["tuning.json", "comparisons.json"])
def test_damaged_results_are_refused(tmp_path, name):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / name).write_text('{"tecoa": 1}')
    with pytest.raises(RequestError, match=f"{name} is damaged"):
        show_study(tmp_path)


def test_ablations_change_one_option_each(tmp_path):
    study = load_study(plan_path("glyphs"), tmp_path / "out")
    usual = study.systems["pmg_aft-paper"].config
    for change, config in study.comparisons["ablations"].changes.items():
        differing = [
            f"{part}.{key}"
            for part in ("objective", "attack", "optimizer")
            for key, value in vars(getattr(config, part)).items()
            if value != vars(getattr(usual, part))[key]
        ]
        # A larger radius has steps as long as it is.
        expected = 2 if change.startswith("eps") else 1
        assert len(differing) == expected, change
        assert replace(config, objective=usual.objective, attack=usual.attack) == usual
        # Its title says which and how: alpha=0.5, eps=2_255, attack-steps=4.
        option, _, value = change.partition("=")
        found = (vars(config.objective) | vars(config.attack))[option.rpartition("-")[2]]
        assert found == type(found)(value.replace("_", "/"))


@pytest.mark.parametrize("name", ["glyphs", "photos", "paper"])
def test_the_systems_of_the_paper_are_in_every_plan(name, tmp_path):
    study = load_study(plan_path(name), tmp_path, tmp_path, partial=True)
    presets = {getattr(one.config.objective, "preset", None) for one in study.systems.values()}
    assert presets >= {"paper", "authors_code"}
    assert {one.title for one in study.systems.values()} >= {
        "FT-Clean",
        "our FT-Standard",
        "TeCoA",
        "PMG-AFT (paper)",
        "PMG-AFT (authors_code)",
    }
    # What is trained against is what is evaluated.
    (radius,) = {one.config.attack.eps for one in study.systems.values()}
    assert all(one.eps == [radius] for one in study.evaluations.values())
    assert study.select is None or study.select.eps == [radius]


def test_a_study_begins_with_three_rates_of_every_system(tmp_path):
    study = load_study(plan_path("glyphs"), tmp_path)
    jobs = study.jobs()
    assert all(isinstance(job, Training) for job in jobs)
    assert len(jobs) == 3 * len(study.systems)


def test_photographs_are_found_in_their_folder(tmp_path):
    with pytest.raises(RequestError, match="holds no TinyImageNet"):
        load_study(plan_path("photos"), tmp_path / "out", tmp_path)
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val", "photo-suite/grocery"):
        (tmp_path / part).mkdir(parents=True)
    with pytest.raises(RequestError, match="lacks 16 of the 18 sets") as refused:
        load_study(plan_path("photos"), tmp_path / "out", tmp_path)
    assert f"{tmp_path / 'photo-suite' / 'pacs' / 'sketch'}" in str(refused.value)
    assert "grocery" not in str(refused.value)
    study = load_study(plan_path("photos"), tmp_path / "out", tmp_path, partial=True)
    # No class is both trained on and selected on.
    trained = parse_specification(next(iter(study.systems.values())).config.data)
    (selected,) = map(parse_specification, study.select.data)
    assert trained.path == selected.path == tmp_path / "tiny-imagenet-200"
    assert trained.classes - selected.classes == 200


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "give a plan: glyphs, paper, photos"),
        (["moon"], "there is no plan 'moon': choose glyphs"),
        (["glyphs", "DIR"], "takes no folder"),
        (["glyphs", "DIR", "--show"], "takes no folder"),
        (["photos"], "takes a folder of data sets"),
        (["photos", "DIR"], "DIR holds no TinyImageNet"),
        (["paper", "DIR"], "DIR holds no TinyImageNet"),
        (["glyphs", "--dry-run"], "--dry-run is for paper"),
        (["glyphs", "--shw"], "there is no option --shw"),
    ],
)
def test_bad_requests_are_refused(argv, sentence, capsys):
    assert main(["reproduce", *argv]) == 2
    assert sentence in capsys.readouterr().err


def test_runs_on_photographs_are_shown_with_their_folder_named(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    assert main(["reproduce", "photos", "--show", "--out", str(tmp_path)]) == 2
    assert "holds runs: name the folder of data sets" in capsys.readouterr().err
    assert main(["reproduce", "photos", "DIR", "--show", "--out", str(tmp_path)]) == 2
    assert "DIR holds no TinyImageNet" in capsys.readouterr().err
