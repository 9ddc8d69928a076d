import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsrobust.evaluation.gallery import Gallery, Item, Prediction, View
from zsrobust.reporting.html.sections.gallery import sample_titles
from zsrobust.reporting.report import write_report

CLASSES = tuple(f"class {number:02}" for number in range(25))
N = 4 * len(CLASSES)


@pytest.fixture
def run(evaluation, tmp_path):
    """Class k of 25 keeps k % 5 of its 4 samples, at most; the others are taken for the next."""
    labels = np.repeat(np.arange(len(CLASSES)), 4)
    stands = np.tile(np.arange(4), len(CLASSES)) < labels % 5
    lines = [("birds", "runs/t", "tecoa", False, N, N, int(stands.sum()))]
    folder = evaluation(tmp_path / "run", lines, classes=CLASSES)
    same = {"model": "runs/t", "dataset": "birds", "split": "test", "attack": "pgd-10"}
    outcomes = pa.table(
        {
            **{key: [value] * N for key, value in same.items()},
            **{"eps": [4 / 255] * N, "key": ["runs/t birds"] * N},
            "sample_id": [f"{number:03}" for number in range(N)],
            **{"label": labels, "clean_prediction": labels},
            "adversarial_prediction": np.where(stands, labels, (labels + 1) % len(CLASSES)),
        }
    )
    pq.write_table(outcomes, folder / "outcomes.parquet")
    return folder


def test_the_worst_and_best_classes_and_the_confusions_are_shown(run, read_page, tmp_path):
    written = write_report([run], tmp_path / "out")
    page = read_page(written.page.read_text(encoding="utf-8"))
    rows = page.table("Classes of TeCoA")
    assert rows[0] == ["class", "data set", "n", "clean", "robust"]
    assert len(rows) == 1 + 20
    assert [row[0] for row in rows[1:6]] == [f"class {k:02}" for k in (0, 5, 10, 15, 20)]
    assert rows[1][2:] == ["4", "100.0", "0.0"]
    assert rows[-1][2:] == ["4", "100.0", "100.0"]
    confused = page.table("Most frequent confusions")
    assert confused[1] == ["TeCoA", "birds", "class 00 → class 01", "4 of 4"]
    with (tmp_path / "out" / "files" / "classes.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(CLASSES)
    assert float(found[7]["robust accuracy"]) == 0.5
    linked = {a["href"] for a in page.all("a")}
    assert {"files/classes.csv", "files/confusions.csv"} <= linked


def test_saved_samples_that_fell_are_shown(run, read_page, tmp_path):
    def item(name, right):
        pixels = np.full((3, 8, 8), 0.5, np.float32)
        said = Prediction(name if right else "class 03", 0.75, right)
        views = [
            View("", pixels, {"runs/t": Prediction(name, 0.9, True)}),
            View("runs/t", pixels + 4 / 255, {"runs/t": said}),
        ]
        return Item("birds", name, name, views)

    for folder, attack in (("a", "pgd-10 4/255"), ("b", "pgd-10 1/255")):
        gallery = Gallery(
            attack, {"runs/t": "tecoa"}, "", [item("class 01", False), item("class 02", True)]
        )
        (run / "adversarial" / folder).mkdir(parents=True)
        gallery.write(run / "adversarial" / folder / "samples.npz")
    written = write_report([run], tmp_path / "out")
    page = read_page(written.page.read_text(encoding="utf-8"))
    # Of the attack that leaves least, and only what fell: before, after, and the change.
    assert len(page.all("img")) == 3
    assert "✓ class 01 90%" in page.visible
    assert "✗ class 03 75%" in page.visible
    assert "class 02 (birds)" not in page.visible
    assert [4, "class 01 (birds)"] in page.headings
    assert "#misclassified" in {a["href"] for a in page.all("a")}


def test_headings_of_samples_tell_them_apart():
    items = [Item("birds", sample, "cat", []) for sample in ("1", "2", "1")]
    titles = sample_titles(list(zip(items, ("a", "a", "b"), strict=True)))
    assert titles == ["cat (birds), a, sample 1", "cat (birds), a, sample 2", "cat (birds), b"]
