import csv
import json
import shlex
from itertools import pairwise

import pytest

from zsrobust.config.parsing import parse_evaluate
from zsrobust.evaluation.gallery import Gallery
from zsrobust.reporting.html.blocks import Pictures
from zsrobust.reporting.html.sections.accuracy import (
    accuracy_tables,
    summary_grid,
    tradeoff_points,
)
from zsrobust.reporting.html.sections.gallery import gallery_section
from zsrobust.reporting.inputs import grouped, read_inputs
from zsrobust.reporting.report import write_report
from zsrobust.utils.errors import RequestError

HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)> $\\frac{$ & ]]>'


@pytest.fixture(scope="module")
def page(report, read_page):
    return read_page(report.page.read_text(encoding="utf-8"))


def test_both_averages_are_the_means_of_the_sets(page):
    rows = page.table("Average accuracy")
    assert rows[0] == ["data set", "model", "n", "clean", "pgd-10 4/255", "pgd-10 8/255"]
    shown = {(row[0], row[1]): [row[2], *(cell.split()[0] for cell in row[3:])] for row in rows[1:]}
    # birds 120 and 60 of 200, tiny (trained on) 60 and 30 of 100; five fewer stand at 8/255.
    assert shown["average of 2 all", "TeCoA"] == ["300", "60.0", "30.0", "26.2"]
    assert shown["average of 1 unseen", "TeCoA"] == ["200", "60.0", "30.0", "27.5"]
    assert shown["average of 2 all", "original"] == ["300", "80.0", "0.5", "0.0"]
    assert shown["average of 1 unseen", "PMG-AFT"] == ["200", "55.0", "40.0", "37.5"]


def test_names_of_methods_are_explained_by_their_models(page):
    assert "original is clip; TeCoA is runs/tecoa; PMG-AFT is runs/pmg." in page.visible


def test_every_part_is_there(page):
    assert [heading[1] for heading in page.headings if heading[0] > 1] == [
        *("Results", "Accuracy on every set", "Trade-off", "Accuracy against eps", "Attacks"),
        *("Fine-tuning", "Distance in parameter space", "Training curves"),
        *("Gallery", "cat (birds)", "dog (birds)"),
        *("Appendix", "All results", "Checks", "Protocol", "Fine-tuning runs"),
    ]
    assert "“undefended falls”: it keeps 1.0 %" in page.visible
    checks = page.table("Checks")
    assert checks[1][:2] == ["undefended falls", "FAILED"]
    runs = page.table("The fine-tuning runs")
    by_method = {row[0]: dict(zip(runs[0], row, strict=True)) for row in runs[1:]}
    assert by_method["TeCoA"]["distance, %"] == "3"
    assert by_method["PMG-AFT"]["distance, %"] == "2"
    assert "held-out attacked, % 50.0; seed 7" in page.visible


def test_the_protocol_is_whole(page):
    attacks = page.table("Attacks with all their parameters")
    assert attacks[1][:2] == ["pgd-10", "linf 4/255, pixels in [0, 1]"]
    assert attacks[1][2] == "steps 10, step size 1/255, seed 0"
    sets = page.table("Data sets")
    assert dict(zip(sets[0], sets[1], strict=True))["n"] == "200"
    # What is the same for all stands below the table.
    assert "px 32; loader's resize clip; classes 2; prompts a photo of {}" in page.visible
    assert dict(page.table("Seeds and versions"))["torch"] == "2.6"
    models = page.table("Models")
    assert [row[:2] for row in models[1:]] == [
        *(["original", "clip"], ["TeCoA", "runs/tecoa"], ["PMG-AFT", "runs/pmg"]),
    ]
    assert "weights of runs/tecoa" in page.visible


def test_a_screen_reader_finds_its_way(report, page):
    assert report.page.read_text().startswith("<!doctype html>")
    assert page.all("html") == [{"lang": "en"}]
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for a in page.all("a", "use") if a.get("href", "").startswith("#")]
    links += [use["xlink:href"][1:] for use in page.all("use")]
    assert "main" in links
    assert set(links) <= set(ids)
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert "%" in svg["aria-label"]
    assert all(len(image["alt"]) > 5 for image in page.all("img"))
    assert all(th["scope"] in ("row", "col") for th in page.all("th"))
    assert all(table["caption"] for table in page.tables)
    boxes = [tag for tag in page.all("div", "pre") if tag.get("class") == "box"]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_alt_texts_give_the_figures(page):
    accuracy = next(
        svg["aria-label"] for svg in page.all("svg") if "A row a data set" in svg["aria-label"]
    )
    assert "TeCoA 60.0% and 27.5%" in accuracy
    distance = next(svg["aria-label"] for svg in page.all("svg") if "Bars" in svg["aria-label"])
    assert "TeCoA 3.00% at step 20" in distance


def test_nothing_is_asked_of_any_other_place(report, page):
    for _, attributes in page.elements:
        for key in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:", "files/")), (key, value)
        assert "url(" not in attributes.get("style", "").replace("url(#", "")
    assert "@import" not in report.page.read_text()
    out = report.page.parent
    assert "default-src 'none'" in next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    linked = {a["href"] for a in page.all("a") if a["href"].startswith("files/")}
    for file in linked:
        assert (out / file).stat().st_size > 0
    assert "files/rows.csv" in linked


def test_every_table_and_figure_is_in_a_file(report, page):
    out = report.page.parent
    with (out / "files" / "summary.csv").open(newline="") as file:
        assert list(csv.reader(file)) == page.table("Average accuracy")
    names = {path.name for path in (out / "files").iterdir()}
    for chart in ("accuracy", "tradeoff", "eps", "distance", "curves", "gallery"):
        assert {f"{chart}.png", f"{chart}.svg"} <= names
    for table in ("summary", "accuracy-table", "attacks", "findings", "protocol-models", "runs"):
        assert {f"{table}.csv", f"{table}.tex", f"{table}.md"} <= names


def test_the_command_of_a_row_asks_for_that_row(report):
    out = report.page.parent
    with (out / "files" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    row = next(r for r in rows if r["model"] == "runs/pmg" and r["eps"] == str(8 / 255))
    asked = parse_evaluate(shlex.split(row["command"])[2:])
    assert asked.model == ["runs/pmg"]
    assert [str(eps) for eps in asked.eps] == ["8/255"]
    assert asked.data == ["imagefolder:/data/birds", "imagefolder:/data/tiny"]
    assert asked.samples == 100
    # An original comes with the fine-tuned models, which say how it sees images.
    original = next(r for r in rows if r["model"] == "clip")
    assert parse_evaluate(shlex.split(original["command"])[2:]).model == ["runs/tecoa", "runs/pmg"]


def test_names_are_words_wherever_they_stand(evaluation, gallery, read_page, tmp_path):
    lines = [
        (f"set {HOSTILE}", f"model {HOSTILE}", "original", False, 100, 80, 10),
        (f"set {HOSTILE}", "runs/x", f"tecoa[{HOSTILE}]", False, 100, 70, 40),
    ]
    run = evaluation(tmp_path / "run", lines, classes=(HOSTILE, "b"))
    gallery(run, (HOSTILE,))
    written = write_report([run], tmp_path / "out")
    page = read_page(written.page.read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert len(page.all("img")) == 5
    assert not [key for _, at in page.elements for key in at if key.startswith("on")]
    assert page.visible.count(f"set {HOSTILE}") > 4
    assert f"{HOSTILE} (birds)" in page.visible
    assert any(HOSTILE in svg["aria-label"] for svg in page.all("svg"))


def test_seeds_of_one_recipe_are_mean_and_spread(evaluation, tmp_path):
    runs = []
    for seed, robust in enumerate((20, 30, 40)):
        model = f"runs/seed{seed}"
        lines = [
            ("birds", "clip", "original", False, 100, 90, 0),
            ("birds", model, "tecoa", False, 100, 60, robust),
        ]
        runs.append(evaluation(tmp_path / f"e{seed}", lines, recipes={model: "one"}))
    (group,) = grouped(read_inputs(runs).evaluations)
    summary = summary_grid(group)
    by_model = {row[1]: row for row in summary.table.rows[:2]}
    assert by_model["TeCoA, 3 seeds"][4].startswith("30.0 (")
    assert by_model["original"][4].startswith("0.0 (")
    (point,) = [p for p in tradeoff_points(group.results, "pgd-10 4/255") if p.method == "tecoa"]
    assert (point.clean, point.robust) == pytest.approx((0.6, 0.3))
    assert point.seeds == ((0.6, 0.2), (0.6, 0.3), (0.6, 0.4))
    (seeds,) = [grid for grid in accuracy_tables(group) if "over seeds" in grid.caption]
    tecoa = next(row for row in seeds.table.rows if row[1] == "tecoa")
    # Student's interval of 20, 30, 40: 30 ± 4.303 * 10 / sqrt(3).
    assert tecoa[-1] == "30.0 ± 10.0 (5.2 to 54.8)"


def test_different_protocols_are_separate_groups(evaluation, tmp_path):
    runs = [evaluation(tmp_path / f"{steps}", steps=steps) for steps in (10, 20)]
    fewer = [("birds", "clip", "original", False, 200, 180, 2)]
    runs.append(evaluation(tmp_path / "fewer", fewer))
    groups = grouped(read_inputs(runs).evaluations)
    assert [[run.folder.name for run in group.runs] for group in groups] == [
        *(["10"], ["20"], ["fewer"])
    ]
    assert len({group.prefix for group in groups}) == 3


def test_a_large_gallery_stays_small(gallery, tmp_path):
    folder = gallery(tmp_path, tuple(f"class {index}" for index in range(6)), side=224)
    kept = Gallery.read(folder / "gallery.npz")
    section = gallery_section(kept, "Gallery", "gallery", most=600_000)
    rows = [block for block in section.blocks if isinstance(block, Pictures)]
    size = sum(len(picture.source) for row in rows for picture in row.pictures)
    assert size < 600_000
    assert 0 < len(rows) < 6
    assert section.blocks[-1].text.startswith(f"{6 - len(rows)} samples are left out")
    assert all("data:image/jpeg" in picture.source for row in rows for picture in row.pictures)


def test_only_an_earlier_report_is_replaced(gallery, tmp_path):
    run = gallery(tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("mine")
    with pytest.raises(RequestError, match="was not made by zsrobust report"):
        write_report([run], out)
    assert (out / "report.html").read_text() == "mine"
    (out / "report.html").unlink()
    (out / "files").mkdir()
    with pytest.raises(RequestError, match="holds files that are no report's"):
        write_report([run], out)
    (out / "files").rmdir()
    (out / "note.txt").write_text("mine")
    first = write_report([run], out).page.read_bytes()
    (out / "files" / "old.png").write_text("of an earlier report")
    assert write_report([run], out).page.read_bytes() == first
    assert not (out / "files" / "old.png").exists()
    assert (out / "note.txt").read_text() == "mine"


def test_a_folder_that_is_no_run_is_refused_in_a_sentence(evaluation, training, tmp_path):
    out = tmp_path / "out"

    def refused(folder):
        with pytest.raises(RequestError) as error:
            write_report([folder], out)
        assert not out.exists()
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "is no run folder" in refused(tmp_path / "empty")
    assert "is not a folder" in refused(tmp_path / "nowhere")
    (tmp_path / "empty" / "config.yaml").write_text("model: x")
    assert "has not finished" in refused(tmp_path / "empty")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "demo.json").write_text("{}")
    assert "demonstration that has not finished" in refused(tmp_path / "demo")
    run = training(tmp_path / "training")
    (run / "metrics.jsonl").write_text('{"step": 1, "relative_l2_distance": 0, "total": "x"}\n')
    assert "metrics.jsonl is damaged" in refused(run)
    run = evaluation(tmp_path / "evaluation")
    (run / "config.yaml").write_text("- no request")
    assert "config.yaml is damaged" in refused(run)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["protocol"].pop("models"),
        lambda content: content["protocol"]["data"].pop("birds"),
        lambda content: content["protocol"]["data"]["birds"].pop("under clip"),
        lambda content: content["protocol"]["models"]["clip"].pop("logit_scale"),
        lambda content: content["protocol"].pop("precision"),
        lambda content: content["results"].clear(),
        lambda content: content["results"][0].update(clean_acc="high"),
        lambda content: content["results"][0].update(robust_acc=7),
        lambda content: content["results"][0].update(n=0),
        lambda content: content["results"][0].update(model=["a list"]),
        lambda content: content["protocol"].update(data=[]),
    ],
)
def test_damaged_results_are_refused(evaluation, tmp_path, damage):
    run = evaluation(tmp_path / "run")
    path = run / "results.json"
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"results\.json is (missing or )?damaged"):
        write_report([run], tmp_path / "out")
