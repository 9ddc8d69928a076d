"""What the pages of the replications say is what the committed results say."""

import json
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from zsrobust.config.parsing import recipe
from zsrobust.sweep.plan_file import load_study, plan_path
from zsrobust.sweep.run_study import show_study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SET = "coloured-shapes"
PAGES = {
    "docs/replication/glyphs": "docs/replication_glyphs.md",
    "docs/replication/photos": "docs/replication_photos.md",
    "docs/replication/two_sets": "docs/replication_two_sets.md",
    "docs/replication/methods": "docs/methods.md",
    "experiments/recipe": "experiments/recipe/README.md",
}


def _rows(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.slow
@pytest.mark.parametrize("folder", PAGES)
def test_every_table_of_the_page_is_made_from_the_committed_results(tmp_path, folder):
    shutil.copytree(ROOT / folder / "results", tmp_path / "results")
    found = show_study(tmp_path).text
    assert (ROOT / folder / "tables.md").read_text("utf-8") == found
    rows, page = _rows(found), _rows((ROOT / PAGES[folder]).read_text("utf-8"))
    assert len(rows) > 30
    if folder == "experiments/recipe":
        assert [row for row in page if row not in rows] == []
    else:
        assert [row for row in rows if row not in page] == []


def test_the_pages_quote_the_results_of_photographs():
    """The first page's table, and every interval of a difference in what both say of it."""
    tables = (DOCS / "replication" / "photos" / "tables.md").read_text("utf-8")
    page = (DOCS / "replication.md").read_text("utf-8")
    part = " ".join(page.partition("## Photographs")[2].partition("## Glyphs")[0].split())
    found = tables.partition("## equal steps\n")[2].partition("\n## ")[0]
    systems = [[cell.strip() for cell in row.strip("|").split("|")] for row in _rows(found)]
    systems = [row for row in systems if row[0] not in ("model", "---")]
    assert len(systems) > 5
    for row in systems:
        # But for rate, steps, passes, seeds and n.
        assert " ".join(f"| {' | '.join([row[0], *row[6:]])} |".split()) in part
    signed = r"[-+]\d+\.\d"
    kinds = _page("photos").partition("By kind of set")[2].partition(" | ")[0]
    intervals = re.findall(rf"(?:({signed}), )?({signed} to {signed})", part + kinds)
    assert len(intervals) > 25
    for value, interval in intervals:
        assert f"{value} ({interval})" in tables if value else f"({interval})" in tables


def _page(name):
    return " ".join((DOCS / f"replication_{name}.md").read_text(encoding="utf-8").split())


def _right(stage, name="glyphs"):
    """By method, set and sample: whether each seed's model is right on x and stays so on x'."""
    path = DOCS / "replication" / name / "results" / stage / "outcomes.parquet"
    right = defaultdict(list)
    for row in pq.read_table(path).to_pylist():
        method = row["model"].partition("-lr-")[0]
        clean = row["clean_prediction"] == row["label"]
        robust = clean and row["adversarial_prediction"] == row["label"]
        right[method, row["dataset"], row["sample_id"]].append((clean, robust))
    return {key: 100 * np.mean(seeds, axis=0) for key, seeds in right.items()}


def _lead(right, left_out):
    """Of authors_code over TeCoA: mean over sets, and half the 95 % interval over samples."""
    by_set = defaultdict(list)
    for (method, dataset, sample), value in right.items():
        if method == "tecoa" and dataset != left_out:
            by_set[dataset].append(right["pmg_aft-authors_code", dataset, sample] - value)
    errors = [np.var(part, axis=0, ddof=1) / len(part) for part in by_set.values()]
    mean = np.mean([np.mean(part, axis=0) for part in by_set.values()], axis=0)
    return mean, 1.96 * np.sqrt(np.sum(errors, axis=0)) / len(by_set)


@pytest.mark.slow
def test_the_page_quotes_the_numbers_of_one_set():
    page = _page("glyphs")
    steps = _right("equal-steps")
    for method, words in (
        ("tecoa", "TeCoA {:.1f} ({:.1f} under PGD-10)"),
        ("pmg_aft-authors_code", "`authors_code` {:.1f} ({:.1f})"),
    ):
        of_it = [v for (name, at, _), v in steps.items() if (name, at) == (method, SET)]
        assert words.format(*np.mean(of_it, axis=0)) in page
    mean, half = _lead(steps, SET)
    low, high = mean - half, mean + half
    clean, robust = (
        f"{at:+.1f} ({a:+.1f} to {b:+.1f})" for at, a, b in zip(mean, low, high, strict=True)
    )
    assert f"{clean} clean and {robust} under PGD-10" in page
    mean, _ = _lead(_right("autoattack"), SET)
    assert f"it is {mean[0]:.1f} better clean and {-mean[1]:.1f} worse robust" in page


BESIDE = (
    *("pmg_aft-paper", "pmg_aft-ttc", "tecoa", "pmg_aft-authors_code"),
    "pmg_aft-authors_first_revision",
)


def _more_under_pgd(name, seen=()):
    """By method: the points by which PGD-10 leaves more standing of AutoAttack's images."""
    pgd, more = _right("equal-steps", name), defaultdict(list)
    for key, value in _right("autoattack", name).items():
        method, dataset, _ = key
        if dataset not in seen:
            assert value[0] == pgd[key][0], "the same weights"
            more[method].append(pgd[key][1] - value[1])
    return {method: f"{np.mean(points):.1f}" for method, points in more.items()}


@pytest.mark.slow
def test_the_page_quotes_pgd_and_autoattack():
    page, glyphs = _page("glyphs"), _more_under_pgd("glyphs")
    paper, ttc, tecoa, code, first = (glyphs[name] for name in BESIDE)
    assert tecoa == first
    assert f"by {paper} points of `paper`, {ttc} of `ttc`, {tecoa} of TeCoA" in page
    assert f"and {code} of `authors_code`" in page
    page, photos = _page("two_sets"), _more_under_pgd("two_sets", seen={"tiny-imagenet"})
    paper, ttc, tecoa, code, first = (photos[name] for name in BESIDE)
    assert paper == first
    assert f"by {code} points of `authors_code`, {paper} of `paper`" in page
    assert f"{ttc} of `ttc` and {tecoa} of TeCoA" in page


SYSTEMS = {
    "agft": "agft",
    "fare": "fare",
    "ft_adv": "ft_adv",
    "ft_clean": "ft_clean",
    "ft_standard": "ft_standard",
    "pmg_aft": "pmg_aft-authors_code",
    "pmg_aft_paper": "pmg_aft-paper",
    "sim_clip": "sim_clip-paper",
    "sum": "pmg_aft-paper",
    "tecoa": "tecoa",
    "trades": "trades",
}
"""The recipes whose learning rate the studies searched for, by the name there."""


@pytest.mark.parametrize(("model", "study"), [("glyph-clip", "methods"), ("photo-lite", "photos")])
def test_small_models_train_at_the_learning_rates_that_the_studies_found(model, study):
    path = DOCS / "replication" / study / "results" / "tuning.json"
    tuning = json.loads(path.read_text(encoding="utf-8"))
    searched = {
        name: tuning[system]["scores"] for name, system in SYSTEMS.items() if system in tuning
    }
    assert len(searched) >= 5
    for name, scores in searched.items():
        best = float(max(scores, key=scores.get))
        assert recipe(name, model=model, data="digits").optimizer.lr == best, name


@pytest.mark.parametrize("name", ["tecoa", "pmg_aft-authors_code"])
def test_the_recipes_train_photo_lite_as_the_replication_does(name, tmp_path):
    scores = json.loads((DOCS / "replication/photos/results/tuning.json").read_text("utf-8"))
    best = float(max(scores[name]["scores"], key=scores[name]["scores"].get))
    for part in ("train", "val"):
        (tmp_path / "tiny-imagenet-200" / part).mkdir(parents=True)
    study = load_study(plan_path("photos"), tmp_path / "out", tmp_path, partial=True)
    expected = study.systems[name].at(best)
    given = recipe(expected.method, model="photo-lite", data=expected.data)
    for key in (
        *("model", "objective", "optimizer", "attack", "steps", "batch_size", "evaluate_every"),
        *("checkpoint_every", "adapter", "batch_norm", "templates"),
    ):
        assert getattr(given, key) == getattr(expected, key), key
