import csv
from dataclasses import replace
from importlib import resources

import pytest

from zsrobust.evaluation.comparison.published import (
    authors_print,
    load_means,
    load_published,
    match_published,
)
from zsrobust.evaluation.results import Results, Row

PAPER = "arXiv:2410.21802"
"""Of which whole tables were read."""
STEPS = {"steps": 10, "step_size": 1 / 255, "random_start": True, "restarts": 1}
PGD = {**STEPS, "loss": "ce", "logit_scale": None}


@pytest.fixture
def results():
    """The results of one model on one set under one attack."""

    def make(dataset="cifar10", attack="pgd-10", levels=1.0, norm="linf", model=None, **changes):
        eps = levels / 255
        row = Row.counted(
            dataset=dataset,
            split="test",
            model="m",
            method="tecoa",
            seen=False,
            resolution=224,
            attack=attack,
            norm=norm,
            eps=eps,
            key="",
            n=200,
            clean=100,
            robust=50,
        )
        attacks = [{"name": attack, "threat": {"norm": norm, "eps": eps}, **PGD, **changes}]
        settings = {
            "source": "ViT-B-32/openai",
            "method": "tecoa",
            "logit_scale": 100.0,
            "seen": ["tiny-imagenet", "/data/tiny-imagenet-200"],
            **(model or {}),
        }
        protocol = {"attacks": attacks, "precision": "fp32", "models": {"m": settings}}
        return Results(protocol, {}, [row])

    return make


def test_every_number_of_the_file_is_read():
    text = (
        resources.files("zsrobust.evaluation.comparison")
        .joinpath("published_results.csv")
        .read_text()
    )
    header, *rows = csv.reader(text.splitlines())
    published = load_published()
    assert len(published) == len(rows)
    for row, printed in zip(rows, published, strict=True):
        cells = dict(zip(header, row, strict=True))
        whole = printed.source.startswith(PAPER)
        assert len(printed.accuracies) == (16 if whole else sum(1 for set_ in row[12:] if set_))
        for name, accuracy in printed.accuracies.items():
            assert accuracy == pytest.approx(float(cells[name]) / 100)
            assert 0 <= accuracy <= 1
        assert printed.metric in ("clean", "robust")
        assert (printed.metric == "clean") == (printed.attack == "none") == (printed.eps_255 == "0")


def test_averages_over_the_sets_are_those_of_the_paper():
    """Means that the paper's tables print beside the rows: 46.58 clean and 32.51 under PGD-100."""
    printed = [one for one in load_published() if one.source.startswith(PAPER)]
    rows = {(p.method, p.attack, p.eps_255): p for p in printed}
    clean = rows["PMG-AFT", "none", "0"].accuracies.values()
    robust = rows["PMG-AFT", "pgd-100", "1"].accuracies.values()
    assert 100 * sum(clean) / 16 == pytest.approx(46.6, abs=0.1)
    assert 100 * sum(robust) / 16 == pytest.approx(32.5, abs=0.1)


@pytest.mark.parametrize(
    ("dataset", "tecoa"),
    [
        *(("cifar10", 30.30), ("CIFAR-10", 30.30), ("cifar100", 17.53), ("caltech101", 55.86)),
        *(("tiny-imagenet", 37.57), ("Oxford_Pets", 36.44), ("fgvc-aircraft", 1.62)),
    ],
)
def test_sets_match_whatever_case_and_punctuation(results, dataset, tecoa):
    found = [
        b
        for b in match_published(results(dataset))
        if not b.clean and b.published.method == "TeCoA" and b.published.finetuned_on != "ImageNet"
    ]
    (one,) = found
    assert 100 * one.accuracy == pytest.approx(tecoa)
    assert one.published.source == f"{PAPER} table 1"


def test_published_rows_match_in_attack_and_eps(results):
    both = results()
    both.rows.append(results(attack="autoattack").rows[0])
    both.protocol["attacks"].append(results(attack="autoattack").protocol["attacks"][0])
    found = match_published(both)
    methods = ["CLIP", "FT-Clean", "FT-Adv", "TeCoA", "FARE", "PMG-AFT", "TGA-ZSR"]
    assert [b.published.method for b in found if b.clean] == methods
    robust = [(b.ours.attack, b.published.attack) for b in found if not b.clean]
    pgd = 7 * [("pgd-10", "pgd-100")] + 4 * [("pgd-10", "pgd-20")]
    assert robust == pgd + 7 * [("autoattack", "autoattack")]
    assert all(b.published.eps_255 == "1" for b in found if not b.clean)


@pytest.mark.parametrize(
    ("changes", "robust"),
    [
        ({"levels": 4.0}, 0),
        ({"norm": "l2"}, 0),
        ({"attack": "square-100"}, 0),
        ({"attack": "cw-10"}, 1),
        ({"attack": "apgd-ce+apgd-dlr"}, 7),
        ({"attack": "apgd-ce"}, 0),
        ({"dataset": "digits"}, 0),
    ],
)
def test_rows_without_a_published_number_have_no_match(results, changes, robust):
    found = match_published(results(**changes))
    assert len([b for b in found if not b.clean]) == robust
    assert len([b for b in found if b.clean]) == (0 if "dataset" in changes else 7)


def differences(results, method="TeCoA", clean=False):
    (one,) = [
        b
        for b in match_published(results)
        if b.clean == clean
        and b.published.method == method
        and b.published.source.startswith(PAPER)
    ]
    return {way.split(":")[0]: way for way in one.differs}


def test_protocol_differences_are_listed(results):
    told = differences(results(step_size=0.25 / 255))
    assert told["attack"] == (
        "attack: PGD 100 steps of 1/255 random start there, "
        "PGD 10 steps of 0.25/255 random start here"
    )
    assert told["precision"] == "precision: fp16 autocast in the attack there, fp32 here"
    assert told["samples"] == "samples: full test split or all images there, 200 of test here"
    assert set(told) == {"attack", "precision", "samples"}


def test_an_equal_attack_is_no_difference(results):
    assert "attack" not in differences(results(attack="pgd-100", steps=100))
    assert "attack" in differences(results(attack="pgd-100", steps=100, restarts=2))
    assert "attack" in differences(results(attack="pgd-100", steps=100, random_start=False))


def test_a_logit_scale_of_the_attack_counts_before_the_models(results):
    assert "logit scale" not in differences(results(model={"logit_scale": 99.9999}))
    assert differences(results(logit_scale=1.0))["logit scale"] == "logit scale: 100 there, 1 here"
    assert differences(results(model={"logit_scale": 30.0}))["logit scale"].endswith("30 here")


def test_of_a_clean_accuracy_the_attack_does_not_matter(results):
    assert set(differences(results(logit_scale=1.0), clean=True)) == {"samples"}


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("ViT-B-32/openai", True),
        ("ViT-B-32-quickgelu/openai", True),
        ("ViT-B-16/openai", False),
        ("ViT-B-32/laion2b_s34b_b79k", False),
        ("photo-lite", False),
    ],
)
def test_the_backbone_is_the_same_only_with_openais_weights(results, source, same):
    told = differences(results(model={"source": source}))
    assert ("backbone" not in told) == same
    assert same or told["backbone"] == f"backbone: ViT-B/32 there, {source} here"


@pytest.mark.parametrize(
    ("model", "method", "said"),
    [
        ({}, "TeCoA", None),
        ({}, "CLIP", "nothing there, tiny-imagenet here"),
        ({"method": "original", "seen": []}, "CLIP", None),
        ({"method": "original", "seen": []}, "TeCoA", "TinyImageNet there, nothing here"),
        ({"method": "ttc(original, tau=0.1)", "seen": []}, "CLIP", None),
        ({"seen": ["imagenet"]}, "TeCoA", "TinyImageNet there, imagenet here"),
        ({"seen": []}, "TeCoA", "TinyImageNet there, sets that are not recorded here"),
    ],
)
def test_what_it_was_fine_tuned_on(results, model, method, said):
    told = differences(results(model=model), method).get("fine-tuned on")
    assert told == (said and f"fine-tuned on: {said}")


def test_a_test_time_defence_is_a_difference(results):
    told = differences(results(model={"defence": {"name": "ttc"}}))
    assert told["test-time defence"] == "test-time defence: none there, ttc here"


def test_a_note_of_the_row_is_passed_on(results):
    told = differences(results(attack="autoattack"), "FARE")
    assert "impossible for one model" in told["note on FARE"]


def over_sets(results, names, **changes):
    """Results on each of the sets, with 1, 2, 3 ... samples right of 200 under attack."""
    several = results(names[0], **changes)
    several.rows[:] = [
        replace(several.rows[0], dataset=name, clean_acc=0.5, robust_acc=number / 200)
        for number, name in enumerate(names, 1)
    ]
    return several


def means(found):
    return [one for one in found if one.ours.dataset.startswith("average of ")]


def test_an_average_is_next_to_ours_over_the_same_sets(results):
    names = "cifar10 stl10 cifar100 stanford-cars caltech101 oxford-pets flowers102 dtd eurosat"
    thirteen = [*names.split(), "fgvc-aircraft", "pcam", "imagenet-r", "imagenet-sketch"]
    both = {"attack": "apgd-ce+apgd-t", "levels": 2.0, "logit_scale": 100.0}
    found = means(match_published(over_sets(results, [*thirteen, "digits"], **both)))
    assert {one.ours.dataset for one in found} == {"average of 13"}
    assert all(one.ours.robust_acc == pytest.approx(7 / 200) for one in found)
    printed = {(one.published.method, one.clean): one for one in found}
    assert printed["FARE 2/255", True].accuracy == pytest.approx(0.67)
    assert printed["FARE 2/255", False].accuracy == pytest.approx(0.431)
    assert printed["CLIP", False].accuracy == 0
    told = printed["FARE 2/255", False].differs
    assert "backbone: ViT-L-14 there, ViT-B-32/openai here" in told
    assert "fine-tuned on: imagenet there, tiny-imagenet here" in told
    assert not means(match_published(over_sets(results, thirteen[1:], **both)))


def test_averages_of_later_papers_are_over_the_sets_of_the_tables(results):
    sixteen = list(load_published()[0].accuracies)
    found = means(match_published(over_sets(results, sixteen)))
    printed = [(one.clean, one.published.method, round(100 * one.accuracy, 2)) for one in found]
    assert [one for one in printed if one[1] == "Comp-TGA"] == [
        *((True, "Comp-TGA", 55.44), (True, "Comp-TGA", 52.09)),
        *((False, "Comp-TGA", 44.46), (False, "Comp-TGA", 31.40)),
    ]
    assert [one for one in printed if one[1] == "UCAT"] == [
        (True, "UCAT", 54.17),
        (False, "UCAT", 32.20),
    ]
    assert len(printed) == 2 * (1 + 7)


def test_what_was_not_read_in_the_paper_says_so(results):
    rows = [*load_published(), *(mean.row for mean in load_means())]
    quoted = [row for row in rows if row.source.endswith("(quoted)")]
    assert {row.method for row in quoted} >= {"CAW", "AGFT", "UCAT"}
    assert all("the paper itself was not read" in row.note for row in quoted)


def test_what_the_authors_of_a_zoo_model_print_is_told_on_any_sets(results):
    ours = results("digits")
    known = ours.protocol["models"].pop("m")
    ours.protocol["models"] = {"ViT-L-14/openai": known, "zoo:fare2-vit-l-14": known}
    (told,) = authors_print(ours)
    assert told.startswith("zoo:fare2-vit-l-14: its authors print 67.0 clean; under attack 43.1 at")
    assert "averages over 13 sets (APGD-CE and APGD-T" in told
    assert "in https://github.com/chs20/RobustVLM (" in told


def test_every_average_is_of_known_sets_with_a_source():
    for mean in load_means():
        assert 0 <= mean.accuracy < 1
        assert mean.row.source.startswith(("https://", "arXiv:"))
        assert mean.row.metric in ("clean", "robust")
        assert (
            (mean.row.metric == "clean") == (mean.row.attack == "none") == (mean.row.eps_255 == "0")
        )
        assert len(set(mean.over)) == len(mean.over)
