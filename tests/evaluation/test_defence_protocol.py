"""Test-time defences of the user's own under attacks that know of them."""

import math

import numpy as np
import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.cli.main import main
from zsrobust.config.parsing import parse_evaluate
from zsrobust.data.batch import Batch
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import opening
from zsrobust.evaluation.defences import Seen, summarise
from zsrobust.evaluation.draws import CHOOSING, JUDGING, Draws, Judge
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.results import Results
from zsrobust.evaluation.statistics import wilson_interval
from zsrobust.models.loading import load
from zsrobust.models.names import check_name
from zsrobust.models.own_model import LogitsClassifier
from zsrobust.utils.errors import RequestError, RunError

TOYS = '''
import torch


def rounded(classifier, levels=16):
    """No gradient."""
    return lambda images: classifier((images * levels).round() / levels)


def saturated(classifier, scale=1e4):
    """The softmax is one-hot, and its gradient zero."""
    return lambda images: scale * classifier(images)


def noisy(classifier, size=0.03):
    """Another answer for every query."""
    return lambda images: classifier(images + size * torch.randn_like(images))


def smoothed(classifier, width=3, again=False):
    """Honest: the gradient is exact."""
    blur = lambda images: torch.nn.functional.avg_pool2d(images, width, 1, width // 2)
    return (lambda images: classifier(blur(blur(images)))) if again else (
        lambda images: classifier(blur(images))
    )


def narrow(classifier):
    return lambda images: classifier(images)[:, :1]


def broken(classifier):
    return lambda images: 1 / 0


def wants_more(classifier, rate):
    return classifier
'''


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toys.py"
    path.write_text(TOYS)
    return lambda call: f"{path}:{call}"


@pytest.fixture
def results_of(tmp_path):
    """The results of one defended glyph-clip on a dozen shapes."""

    def make(name, *attacks, draws=0, eps="4/255"):
        argv = ["--config", "defence", "--model", name, "--data", "glyph:shapes", "--eps", eps]
        argv += ["--samples", "12", "--draws", str(draws), "--device", "cpu"]
        argv += ["--out", str(tmp_path / "run"), "--attack", *attacks]
        return evaluate(parse_evaluate(argv))

    return make


AROUND, THROUGH = "transfer(pgd-10, undefended)", ("pgd-10", "bpda(pgd-10)")


def by_attack(results, name):
    return {row.attack: row for row in results.rows if row.model == name}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "found_by"),
    [("rounded(glyph-clip)", "bpda(pgd-10)"), ("saturated(glyph-clip)", "pgd-10-margin")],
)
def test_a_masked_gradient_is_found_out(call, found_by, toy, results_of):
    """PGD leaves as good as all of it, the protocol hardly any."""
    name = toy(call)
    results = results_of(name, AROUND, *THROUGH, "pgd-10-margin")
    rows = by_attack(results, name)
    (row,) = (one for one in results.defences if one.model == name)
    assert rows["pgd-10"].robust_acc > 0.8 * rows["pgd-10"].clean_acc
    assert row.robust_acc <= rows[found_by].robust_acc < 0.5 * row.clean_acc
    assert any(not one.passed and one.check == "gradients are there" for one in results.findings)
    assert row.static_acc == rows[AROUND].robust_acc


@pytest.mark.slow
def test_an_honest_defence_is_not_flagged(toy, results_of):
    name = toy("smoothed(glyph-clip, again=true)")
    results = results_of(name, AROUND, *THROUGH)
    failed = {one.check for one in results.findings if not one.passed and name in one.sentence}
    assert failed == set()
    (row,) = (one for one in results.defences if one.model == name)
    rows = by_attack(results, name)
    assert rows["pgd-10"].robust_acc < rows[AROUND].robust_acc == row.static_acc
    assert row.draws == 0
    assert row.drawn_robust_acc is None
    settings = results.protocol["models"][name]["defence"]
    assert (settings["name"], settings["width"], settings["again"]) == ("smoothed", 3, True)
    assert len(settings["sha256"]) == 64
    assert Results.of_plain(results.as_dict()).defences == results.defences


@pytest.mark.slow
def test_a_randomised_defence_is_judged_by_draws_that_no_attack_has_seen(toy, results_of):
    """Each sample's attack and both accuracies as written out here."""
    name = toy("noisy(glyph-clip)")
    results = results_of(name, AROUND, "eot-2(pgd-10)", draws=4)
    (row,) = (one for one in results.defences if one.model == name)
    assert (row.draws, row.n) == (4, 12)
    assert sum(row.chosen.values()) == pytest.approx(1)
    images = opening("glyph:shapes", "test")()
    model = load(name)
    classifier = model.classifier(images.class_names).eval()
    # What is attacked does not depend on the batch, but random numbers of the function do.
    asked = parse_evaluate(["--model", name, "--data", "glyph:shapes", "--samples", "12"])
    from zsrobust.evaluation.inputs import Given, sets_of

    (chosen,) = sets_of(["glyph:shapes"], asked, Given(), [model])
    (batch,) = load_batches(chosen, [list(range(12))], resize="clip", resolution=32, workers=0)

    def shares(given, first):
        with torch.no_grad():
            answers = [classifier.redrawn(first + number)(given) for number in range(4)]
        return sum((one.argmax(-1) == batch.labels).float() for one in answers) / 4

    clean = shares(batch.images, JUDGING)
    assert row.drawn_clean_acc == pytest.approx(float(clean.mean()))
    # The attack made on the undefended model can be made again.
    attack = PGD(ThreatModel(eps=4 / 255), steps=10)
    found = attack(classifier.undefended, batch.images, batch.labels, batch.sample_ids)
    weaker = float(shares(found, JUDGING).mean())
    assert row.drawn_robust_acc <= weaker + 0.25
    by_own_draw = by_attack(results, name)
    assert set(by_own_draw) == {AROUND, "eot-2(pgd-10)"}


def test_each_samples_attack_is_chosen_on_other_draws_than_it_is_judged_by():
    clean = np.array([True, True, False, True])
    one = Seen(
        False,
        np.array([True, False, False, True]),
        (np.array([0.1, 0.9, 0.5, 1.0]), np.array([0.7, 0.8, 0.5, 0.9])),
    )
    two = Seen(
        True,
        np.array([True, True, False, False]),
        (np.array([0.2, 0.3, 0.5, 0.4]), np.array([0.1, 0.2, 0.3, 0.6])),
    )
    row = summarise(
        clean,
        {"a": one, "b": two},
        np.array([1.0, 0.9, 0.2, 1.0]),
        **{"model": "m", "dataset": "d", "norm": "linf", "eps": 0.1, "draws": 10},
    )
    # 0 by a though b would be lower on the judging draws; of equals the first.
    assert row.drawn_robust_acc == pytest.approx((0.7 + 0.2 + 0.5 + 0.6) / 4)
    assert row.chosen == {"a": 0.5, "b": 0.5}
    assert row.drawn_clean_acc == pytest.approx(3.1 / 4)
    assert (row.clean_acc, row.static_acc, row.robust_acc) == (0.75, 0.5, 0.25)
    assert row.ci95_static == wilson_interval(2, 4)
    assert row.ci95_drawn_robust == wilson_interval(2, 4)
    # Only "a" was made without the defence.
    assert row.drawn_static_acc == pytest.approx((0.7 + 0.8 + 0.5 + 0.9) / 4)
    assert [found[0] for found in row.figures] == pytest.approx([3.1 / 4, 2.9 / 4, 2.0 / 4])


class Keyed(LogitsClassifier):
    """Right for sample i with the key k where k is a multiple of i + 1."""

    def __init__(self, key=0):
        super().__init__(torch.nn.Identity(), ["a", "b"])
        self.key = key

    def redrawn(self, key):
        return Keyed(key)

    def forward(self, images, logit_scale=None):
        places = images[:, 0, 0, 0].round().long()
        right = self.key % (places + 1) == 0
        return torch.stack([right.float(), 1 - right.float()], 1)


def test_the_judge_counts_both_sets_of_draws(tmp_path):
    images = torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2)
    batch = Batch(images, torch.zeros(5, dtype=torch.long), list("vwxyz"))
    judge = Judge(Keyed(), 12)
    judge(batch, images)
    judge.draws.write(tmp_path / "draws.parquet")
    draws = Draws.read(tmp_path / "draws.parquet")
    for first, found in ((CHOOSING, draws.choosing), (JUDGING, draws.judging)):
        keys = range(first, first + 12)
        expected = [sum(key % (place + 1) == 0 for key in keys) / 12 for place in range(5)]
        assert found == pytest.approx(expected)
    # Of two images of a sample, that which the choosing draws get wrong more often counts.
    again = Judge(Keyed(), 12)
    again(batch, images)
    again(batch, images.flip(0))
    worst = [min(a, b) for a, b in zip(draws.choosing, draws.choosing[::-1], strict=True)]
    assert again.draws.choosing == pytest.approx(worst)
    of = again.draws.of(["z", "v"])
    assert of[0].tolist() == pytest.approx([worst[4], worst[0]])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("missing(glyph-clip)", "is unknown: did you mean|it registers"),
        ("smoothed(glyph-clip, widht=3)", "no option 'widht'"),
        ("smoothed(glyph-clip, width=x)", "must be a whole number"),
        ("smoothed(glyph-clip, again=perhaps)", "must be true or false"),
        ("smoothed(jpeg(glyph-clip))", "another defence"),
        ("wants_more(glyph-clip)", "only with defaults"),
    ],
)
def test_what_cannot_be_is_refused(call, said, toy):
    with pytest.raises(RequestError, match=said):
        load(toy(call))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("narrow(glyph-clip)", RequestError, r"must be logits \(2, 3\)"),
        ("broken(glyph-clip)", RunError, "toys.py, line .*ZeroDivisionError"),
    ],
)
def test_a_function_that_fails_is_named(call, error, said, toy):
    classifier = load(toy(call)).classifier(["circle", "square", "star"])
    with pytest.raises(error, match=said):
        classifier(torch.rand(2, 3, 32, 32))


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path, capsys):
    name = f"{tmp_path}/nothing.py:defend(glyph-clip)"
    argv = ["evaluate", "--model", name, "--data", "glyph:shapes", "--attack", "pgd-2"]
    assert main(argv) == 2
    assert "there is no file" in capsys.readouterr().err


def test_only_a_function_that_draws_is_randomised(toy):
    classes = ["circle", "square", "star"]
    drawn, plain = (load(toy(f"{word}(glyph-clip)")) for word in ("noisy", "smoothed"))
    noisy, smooth = drawn.classifier(classes), plain.classifier(classes)
    assert (noisy.randomised, smooth.randomised) == (True, False)
    images = torch.rand(2, 3, 32, 32)
    one = noisy.redrawn(1)
    assert torch.equal(one(images), one(images))
    assert not torch.equal(one(images), noisy.redrawn(2)(images))
    check_name(toy("noisy(glyph-clip)"))
    assert math.isfinite(float(one(images).sum()))


def test_draws_and_two_phases_do_not_go_together():
    argv = ["--model", "glyph-clip", "--data", "glyph:shapes", "--attack", "autoattack"]
    with pytest.raises(RequestError, match="draws is 20: must be 0 or more, and 0 with"):
        parse_evaluate([*argv, "--half_width", "2", "--draws", "20"])
