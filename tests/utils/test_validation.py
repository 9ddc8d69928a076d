from dataclasses import replace

import pytest

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import (
    EvaluateConfig,
    FinetuneConfig,
    Optimizer,
    PGDOptions,
    TrainingAttack,
)
from zsrobust.objectives import PMGAFT, TeCoA
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import no_option


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimizer(name="adam"), "optimizer.name is 'adam': must be one of sgd, adamw"),
        (lambda: Optimizer(lr="fast"), "optimizer.lr is 'fast': must be float"),
        (lambda: Optimizer(warmup_steps=2.5), "optimizer.warmup_steps is 2.5: must be int"),
        (lambda: Optimizer(clip_norm=True), "optimizer.clip_norm is True: must be float, or null"),
        (lambda: TrainingAttack(steps="2"), "attack.steps is '2': must be int"),
        (lambda: PGDOptions(restarts=1.0), "pgd.restarts is 1.0: must be int"),
        (lambda: PMGAFT(kl_reduction="batchmean"), "objective.kl_reduction is 'batchmean'"),
        (lambda: PMGAFT(general="l1"), "objective.general is 'l1': must be one of kl, l2"),
        (lambda: PMGAFT(images="adv"), "objective.images is 'adv'"),
        (lambda: PMGAFT(general_kl="typo"), "objective.general_kl is 'typo'"),
        (lambda: TeCoA(logit_scale="own"), "objective.logit_scale is 'own'"),
        (lambda: FinetuneConfig("m", "d", precision="fp16"), "precision is 'fp16'"),
        (lambda: FinetuneConfig("m", "d", attack={"eps": 0.1}), "attack is {'eps': 0.1}"),
        (lambda: FinetuneConfig("m", "d", on_unreadable="ignore"), "on_unreadable is 'ignore'"),
        (lambda: EvaluateConfig(["m"], ["d"], samples="all"), "samples is 'all'"),
        (lambda: EvaluateConfig(["m"], [3]), "data is [3]: must be a list of str"),
        (
            lambda: replace(recipe("pmg_aft", model="m", data="d"), method="tecoa"),
            "must be an objective of method tecoa",
        ),
    ],
)
def test_wrong_words_from_python_are_refused(make, message):
    with pytest.raises(RequestError) as refused:
        make()
    assert message in str(refused.value)


def test_whole_numbers_serve_as_floats():
    assert Optimizer(lr=1, momentum=0).lr == 1
    assert PMGAFT(alpha=0, logit_scale=100).logit_scale == 100


KNOWN = ["eps", "model", "steps", "ema", "attack.eps", "attack.step_size", "optimizer.lr"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--epss", "--eps"),
        ("--esp", "--eps"),
        ("-eps", "--eps"),
        ("--EPS", "--eps"),
        ("--epsilon", "--eps"),
        ("--attack.epss", "--attack.eps"),
        ("--atack.eps", "--attack.eps"),
        ("--attack.step-size", "--attack.step_size"),
        ("--stepsize", "--attack.step_size"),
        ("--optimizer.learning_rate", "--optimizer.lr"),
        ("--lr", "--optimizer.lr"),
        ("--attack.model", "--model"),
        ("--ema.decay", "--ema"),
        ("attack.stepz_ize", "attack.step_size"),
    ],
)
def test_the_option_that_is_meant(given, meant):
    assert no_option(given, KNOWN) == f"there is no option {given}; did you mean {meant}?"


def test_an_option_like_none_is_told_where_all_are():
    assert no_option("--frobnicate", KNOWN, help="see --help").endswith("--frobnicate; see --help")
    assert no_option("--frobnicate", KNOWN) == "there is no option --frobnicate"
