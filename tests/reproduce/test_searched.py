"""A replication in a world of seconds, from the search for learning rates to its tables."""

import shutil
from dataclasses import replace

import pytest

from zsrobust.cli.main import main
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.reproduce import searched, tuning
from zsrobust.reproduce.methods import METHODS, PAPER, TECOA, ablations
from zsrobust.reproduce.request import parse_reproduce
from zsrobust.reproduce.run import reproduce
from zsrobust.reproduce.searched import Searched
from zsrobust.reproduce.tuning import best_rate
from zsrobust.reproduce.world import glyphs, photos
from zsrobust.sweep.cost import passes_per_step
from zsrobust.sweep.jobs import Training
from zsrobust.sweep.plan import run_name
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


def test_every_table_comes_from_runs_and_again_from_the_kept_files(world, tmp_path, monkeypatch):
    few = [method for method in METHODS if method in (TECOA, PAPER)]
    monkeypatch.setattr(tuning, "FARTHEST", 1)
    monkeypatch.setattr(
        searched, "ablations", lambda *args: dict(list(ablations(*args).items())[:1])
    )
    experiment = Searched(world, tmp_path / "out", few)
    found = reproduce(experiment)
    assert found.missing == dict.fromkeys(
        ("equal-steps", "equal-passes", "ablations", "autoattack"), 0
    )
    for title in ("learning rates", "equal steps", "equal passes", "ablations", "autoattack"):
        assert f"## {title}\n" in found.text

    # The rate is the one whose held-out accuracies are best, read here from the runs themselves.
    for method in few:
        scores = {}
        for folder in (tmp_path / "out" / "runs").glob(f"{method.name}-lr-*-seed-0"):
            if "steps" in folder.name or "alpha" in folder.name:
                continue
            last = read_metrics(folder / "metrics.jsonl")[-1]
            assert (last["kind"], last["step"]) == ("held_out", 2)
            rate = float(folder.name.partition("-lr-")[2].removesuffix("-seed-0"))
            scores[rate] = (last["clean_acc"] + last["robust_acc"]) / 2
        assert len(scores) >= 3
        chosen = best_rate(scores)
        sweep = experiment.stages()["equal-steps"].sweep
        assert sweep.recipes[f"{method.name}-lr-{chosen:g}"].optimizer.lr == chosen

    # Equal passes: as many as the reference's steps take.
    stages = experiment.stages()
    budget = 2 * passes_per_step(TECOA.of(world.base, 1e-2))
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
        for name in (TECOA.name, PAPER.name)
    }
    line = next(
        line
        for line in found.text.partition("## equal steps")[2].splitlines()
        if PAPER.title in line
    )
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4:6] == ["2", "22"]
    assert cells[6].startswith(f"{100 * means[PAPER.name]:.1f} (")
    assert cells[8].startswith(f"{100 * (means[PAPER.name] - means[TECOA.name]):+.1f} (")

    # All of it again without the runs, as from committed files.
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "out" / "results").rename(kept / "results")
    again = reproduce(Searched(world, kept, few), compute=False)
    assert again.text == found.text
    assert [path.name for path in again.figures] == [path.name for path in found.figures]

    # What the files answer is not computed again: without those of AutoAttack, only the models
    # that it attacks are trained once more.
    shutil.rmtree(kept / "results" / "autoattack")
    on = reproduce(Searched(world, kept, few))
    assert set(on.missing.values()) == {0}
    trained = {folder.name for folder in (kept / "runs").iterdir()}
    assert trained == {
        run_name(recipe, seed)
        for recipe in stages["equal-steps"].sweep.recipes
        for seed in world.seeds
    }
    # On the CPU the same seeds give the same weights, and so the same tables.
    assert on.text == found.text

    other = replace(world, pgd=replace(world.pgd, samples=3))
    with pytest.raises(RequestError, match=r"holds results of .*'samples': None"):
        reproduce(Searched(other, kept, few))


def test_nothing_to_show_is_said(world, tmp_path):
    with pytest.raises(RequestError, match="holds nothing to show yet"):
        reproduce(Searched(world, tmp_path / "empty"), compute=False)


def test_ablations_change_one_thing_each(world):
    usual = PAPER.of(world.base, 1e-3)
    for change, config in ablations(world.base, 1e-3).items():
        differing = [
            f"{part}.{key}"
            for part in ("objective", "attack", "optimizer")
            for key, value in vars(getattr(config, part)).items()
            if value != vars(getattr(usual, part))[key]
        ]
        # A larger radius has steps as long as it is.
        expected = 2 if change.startswith("eps") else 1
        assert len(differing) == expected, change
        assert replace(
            config, objective=usual.objective, attack=usual.attack, optimizer=usual.optimizer
        ) == replace(usual)


def test_every_method_is_in_the_comparison():
    presets = {dict(method.options).get("preset") for method in METHODS}
    assert presets >= {"paper", "authors_code", "authors_first_revision", "ttc"}
    assert {method.title for method in METHODS} >= {"FT-Clean", "our FT-Standard", "TeCoA"}


def test_the_worlds(tmp_path):
    world = glyphs()
    jobs = Searched(world, tmp_path).jobs()
    assert all(isinstance(job, Training) for job in jobs)
    assert len(jobs) == 3 * len(METHODS)
    assert world.pgd.eps == [world.base.attack.eps]

    with pytest.raises(RequestError, match="holds no TinyImageNet"):
        photos(tmp_path)
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val"):
        (tmp_path / part).mkdir(parents=True)
    with pytest.raises(RequestError, match="TinyImageNet alone"):
        photos(tmp_path)
    (tmp_path / "cifar10" / "test").mkdir(parents=True)
    for part in ("accordion", "yin_yang"):
        (tmp_path / "caltech101" / "101_ObjectCategories" / part).mkdir(parents=True)
    data = photos(tmp_path).pgd.data
    assert [spec.partition(":")[0] for spec in data] == [
        "tiny-imagenet",
        "imagefolder",
        "caltech101",
    ]
    assert data[2].endswith(",split=all")


def test_the_search_on_photographs_begins_where_glyphs_suggest(tmp_path):
    words = ["photos", "--show", "--out", str(tmp_path)]
    methods = parse_reproduce(words).experiment.methods()
    assert [one.name for one in methods] == [one.name for one in METHODS]
    begun = {one.name: one.start for one in methods if one.start is not None}
    assert begun == dict.fromkeys(("pmg_aft-authors_code", "pmg_aft-authors_first_revision"), 1e-2)


def test_runs_on_photographs_are_shown_with_their_folder_named(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    assert main(["reproduce", "photos", "--show", "--out", str(tmp_path)]) == 2
    assert "holds runs: name the folder of data sets" in capsys.readouterr().err
    assert main(["reproduce", "photos", "DIR", "--show", "--out", str(tmp_path)]) == 2
    assert "DIR holds no TinyImageNet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["moon"], "there is no 'moon' to reproduce"),
        (["glyphs", "DIR"], "takes no folder"),
        (["photos"], "takes a folder of data sets"),
        (["glyphs", "--dry-run"], "--dry-run is for paper"),
        (["glyphs", "--shw"], "there is no option --shw"),
    ],
)
def test_what_is_wrong_is_said(words, sentence, capsys):
    assert main(["reproduce", *words]) == 2
    assert sentence in capsys.readouterr().err
