import pytest

from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.results import Results, Row, failed
from zsrobust.reporting.findings import findings_page


def row(attack="pgd-10", robust=30, eps=1 / 255, n=1000, clean=800, **rest):
    names = {"dataset": "birds", "split": "test", "model": "mine", "method": "tecoa"}
    facts = {"seen": False, "resolution": 64, "norm": "linf", "key": "k", **names, **rest}
    return Row.counted(n=n, clean=clean, robust=robust, attack=attack, eps=eps, **facts)


def results(*rows, attacks=(), classes=10):
    data = {"birds": {"class_names": [str(index) for index in range(classes)]}}
    return Results({"attacks": list(attacks), "data": data}, {}, list(rows))


def wrong(*rows, **protocol):
    return [found.check for found in failed(diagnose(results(*rows, **protocol)))]


def test_a_sound_evaluation_passes_every_check():
    rows = [
        row("pgd-10", 300),
        row("pgd-10", 100, eps=2 / 255),
        row("square", 350),
        row("noise-10", 780),
        row("pgd-10+square", 290),
        row("pgd-10", 3, model="clip", method="original"),
    ]
    found = diagnose(results(*rows))
    assert failed(found) == []
    assert [finding.check for finding in found] == [
        "ensemble below its parts",
        "falls with eps",
        "white box beats black box",
        "attack beats noise",
        "undefended falls",
    ]


def test_nothing_to_compare_is_nothing_found():
    assert diagnose(results(row())) == []
    assert diagnose(results()) == []


def test_ensemble_above_a_part():
    rows = [row("pgd-10", 300), row("cw-10", 280), row("pgd-10+cw-10", 281)]
    found = failed(diagnose(results(*rows)))
    assert [finding.check for finding in found] == ["ensemble below its parts"]
    assert "28.1%" in found[0].sentence
    assert "cw-10" in found[0].sentence
    assert found[0].figures == {"ensemble": 0.281, "part": 0.28}


@pytest.mark.parametrize("parts", [["apgd-ce", "square"], [{"name": "apgd-ce"}]])
def test_parts_are_named_by_the_protocol(parts):
    attacks = [{"name": "autoattack", "parts": parts}, {"name": "apgd-ce"}]
    rows = [row("autoattack", 200), row("apgd-ce", 150)]
    assert wrong(*rows, attacks=attacks) == ["ensemble below its parts"]
    assert wrong(row("autoattack", 150), row("apgd-ce", 150), attacks=attacks) == []


def test_other_samples_models_and_norms_are_not_compared():
    whole, part = row("a+b", 300), row("a", 200, n=900)
    assert wrong(whole, part) == []
    assert wrong(whole, row("a", 200, model="other")) == []
    assert wrong(whole, row("a", 200, norm="l2")) == []
    assert wrong(whole, row("a", 200, eps=2 / 255)) == []


def test_rising_with_eps():
    assert wrong(row(robust=300), row(robust=320, eps=2 / 255)) == ["falls with eps"]
    assert wrong(row(robust=320, eps=2 / 255), row(robust=300)) == ["falls with eps"]
    assert wrong(row(robust=300), row(robust=305, eps=2 / 255)) == []
    assert wrong(row(robust=3, n=20, clean=15), row(robust=4, n=20, clean=15, eps=0.1)) == []


def test_black_box_below_white_box():
    assert wrong(row("pgd-10", 300), row("square", 200)) == ["white box beats black box"]
    assert wrong(row("pgd-10", 300), row("square", 290)) == []
    # Another attack with gradients does find them.
    assert wrong(row("pgd-10", 300), row("pgd-10-margin", 190), row("square", 200)) == []
    assert wrong(row("pgd-10", 300), row("transfer(pgd-10, clip+x)", 200)) == [
        "white box beats black box"
    ]


def test_noise_as_harmful_as_the_attack():
    assert "attack beats noise" in wrong(row("pgd-10", 500), row("noise-10", 500))
    assert wrong(row("pgd-10", 790), row("noise-10", 788)) == []
    assert wrong(row("pgd-10", 300), row("noise-10", 600)) == []


def test_an_undefended_model_that_seems_robust_is_reported():
    def is_warned(robust, **rest):
        return wrong(row(robust=robust, method="original", **rest)) == ["undefended falls"]

    assert is_warned(170)
    assert not is_warned(60)  # 6.0 %, with an interval from 4.7 %
    assert not is_warned(2, n=20, clean=15)
    assert not is_warned(170, eps=0.5 / 255)
    assert not is_warned(170, norm="l2", eps=0.5)
    assert not is_warned(100, clean=150)  # ten classes: hardly above chance
    assert wrong(row(robust=170)) == []
    assert wrong(row(robust=170, method="original"), row("autoattack", 2, method="original")) == []


def test_findings_page():
    found = diagnose(results(row(robust=300), row("square", 200), row(robust=250, eps=2 / 255)))
    page = findings_page(found, {"model": "mine", "threat model": "linf 1/255", "n": 1000})
    assert "**1 of 2 checks failed" in page
    assert "- threat model: linf 1/255\n- n: 1000" in page
    assert page.index("## white box beats black box: **FAILED**") < page.index("## falls with eps")
    assert "Figures: black_box 0.2, white_box 0.3." in page
    for finding in found:
        assert finding.sentence in page
        assert finding.explanation in page
    assert "All 2 checks passed" in findings_page(
        diagnose(results(row(robust=300), row("square", 400), row(robust=250, eps=2 / 255))), {}
    )
    assert "nothing to check" in findings_page([], {})


def test_a_black_box_part_that_fools_what_gradients_missed():
    honest = row("autoattack", 590, after_part={"apgd-ce": 0.61, "fab-t": 0.6, "square": 0.59})
    masked = row("autoattack", 50, after_part={"apgd-ce": 0.61, "fab-t": 0.6, "square": 0.05})
    assert wrong(honest) == []
    assert wrong(masked) == ["white box beats black box"]
    (finding,) = failed(diagnose(results(masked)))
    assert "square brings autoattack from 60.0% to 5.0%" in finding.sentence


def test_a_gradient_that_is_mostly_zero():
    assert wrong(row(zero_gradients=0.02)) == []
    assert wrong(row(zero_gradients=0.98), row("cw-10", zero_gradients=0.98)) == [
        "gradients are there"
    ]


def test_tied_classes_are_reported_instead_of_a_zero_gradient():
    tied = row(n=14, clean=1, robust=1, ties=28, zero_gradients=1.0)
    (finding,) = failed(diagnose(results(tied)))
    assert finding.check == "classes are told apart"
    assert "28 times in 14 samples" in finding.sentence
    assert "gradient" not in finding.sentence + finding.explanation
    assert wrong(row(n=14, clean=9, robust=1, ties=5, zero_gradients=0.02)) == []


def lengths(*, norm="linf", eps=4 / 255, defence=None, inside=False, **about):
    """What is said of an attack's radius and steps."""
    attack = {"name": "a", "threat": {"norm": norm, "eps": eps}, **about}
    if inside:
        outer = {"name": "t", "threat": attack["threat"]}
        attack = {**outer, "parts": [{**outer, "attack": attack}]}
    models = {"mine": {"defence": defence}} if defence else {}
    protocol = {"data": {"d": {"attacks": [attack]}, "e": {"attacks": [attack]}}, "models": models}
    found = failed(diagnose(Results(protocol, {}, [])))
    assert {finding.check for finding in found} <= {"steps fit the radius"}
    return [finding.sentence for finding in found]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("inside", [False, True])
def test_steps_that_leap_across_the_ball_or_fall_short_of_its_edge(norm, inside):
    settings = {"norm": norm, "inside": inside}
    (leaps,) = lengths(steps=10, step_size=9 / 255, **settings)
    assert "more than 2 eps" in leaps
    (short,) = lengths(steps=2, step_size=1 / 255, **settings)
    assert "2 steps" in short
    assert "less than eps" in short


@pytest.mark.parametrize(
    ("eps", "steps", "step_size"),
    [
        # The default rule, also of a single step; the field's own settings; none at all.
        (4 / 255, 10, 1 / 255),
        (4 / 255, 1, 10 / 255),
        (1 / 255, 2, 1 / 255),
        (1 / 255, 100, 1 / 255),
        (2 / 255, 10, 1 / 255),
        (8 / 255, 10, 2 / 255),
        (4 / 255, 2, 8 / 255),
        (1 / 255, 1, 1 / 255),
        (0.0, 10, 1 / 255),
    ],
)
def test_usual_steps_are_not_remarked_on(eps, steps, step_size):
    assert lengths(eps=eps, steps=steps, step_size=step_size) == []


def test_a_speck_of_a_grey_level_and_the_steps_of_a_defence():
    (tiny,) = lengths(eps=0.0039 / 255)
    assert "0.0039 of one of 255 levels" in tiny
    assert lengths(norm="l2", eps=0.0039 / 255) == []
    assert lengths(defence={"eps": 4 / 255, "step_size": 1 / 255, "steps": 2}) == []
    (leaps,) = lengths(defence={"eps": 4 / 255, "step_size": 0.1, "steps": 2})
    assert leaps.startswith("mine: a step of 25.5/255 ")


def test_a_model_s_own_images_are_no_black_box():
    rows = [row("pgd-10", 300), row("transfer(autoattack, mine)", 100)]
    assert wrong(*rows) == []
    assert wrong(rows[0], row("transfer(autoattack, other)", 100)) == ["white box beats black box"]


def test_where_neither_noise_nor_attack_does_harm_nothing_is_told():
    def of_noise(*rows):
        return [one for one in diagnose(results(*rows)) if one.check == "attack beats noise"]

    (found,) = of_noise(row("pgd-10", 800), row("noise-10", 800))
    assert (found.passed, found.skipped) == (True, True)
    (found,) = of_noise(row("pgd-10", 300), row("noise-10", 800))
    assert (found.passed, found.skipped) == (True, False)


def test_where_everything_falls_noise_may_as_well():
    assert wrong(row("pgd-10", 0, eps=0.5), row("noise-10", 0, eps=0.5)) == []
