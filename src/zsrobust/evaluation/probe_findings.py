"""Checks of the black-box probes in results: gradients that mislead, answers that change."""

from __future__ import annotations

from scipy.stats import binomtest

from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.probe import SURE
from zsrobust.evaluation.results import BlackBoxAttack, BlackBoxProbe, Results
from zsrobust.evaluation.row_groups import passed
from zsrobust.evaluation.state_checks import STATEFUL, TRANSDUCTIVE
from zsrobust.utils.units import format_radius

KINDS = {
    "random": (
        "the same question has another answer each time",
        "The model draws random numbers. One gradient is a sample of many, and a prediction that "
        "stood once may fall the next time: switch the randomness off, or average gradients over "
        "draws (EOT) and say so beside the number.",
    ),
    "batch": ("answers depend on the other images of the batch", TRANSDUCTIVE),
    "state": ("answers depend on what was asked before", STATEFUL),
}


def probe_goes_no_further(results: Results) -> list[Finding]:
    """No attack without gradients surely takes more of the lead than the best with them.

    An exact one-sided sign test at 1 %, on a few samples that the model has right.
    """
    wrong = [
        Finding(
            "black-box probe",
            False,
            f"{_where(probe)}: {attack.name}, without the model's gradient, goes further than "
            f"{' and '.join(probe.compared_with)} on {attack.further} of {attack.asked} samples "
            f"and less far on {attack.less_far}; {attack.fallen} fall to it, "
            f"{probe.fallen} of {probe.n} to the attack with gradients",
            {
                "further": attack.further / attack.asked,
                "fallen_to_black_box": attack.fallen / attack.asked,
                "fallen_to_white_box": probe.fallen / probe.n,
            },
            "The gradients mislead the attack (gradient masking), or it has too few steps, so the "
            "number says nothing about robustness. Run `--sanity` to see why, attack with "
            "`square` and `transfer(...)`, and report the lowest accuracy that any attack reached.",
        )
        for probe in results.probes
        for attack in probe.attacks
        if _surely_further(attack)
    ]
    return wrong or passed(
        "black-box probe",
        len(results.probes),
        "no attack without gradients goes surely further than those with them",
    )


def answers_repeat(results: Results) -> list[Finding]:
    """A copy that was never asked answers as was counted, in another order and other batches."""
    wrong = []
    for probe in results.probes:
        found = probe.dependence
        if found.kind:
            what, explanation = KINDS[found.kind]
            wrong.append(
                Finding(
                    "answers repeat",
                    False,
                    f"{_where(probe)}: {what}: a fresh copy gives {found.clean} of {probe.n} clean "
                    f"images other logits than were counted, and {found.adversarial} of "
                    f"{found.shown} perturbed ones other logits than the model does by now",
                    {
                        "changed_clean": found.clean / probe.n,
                        "changed_adversarial": found.adversarial / max(1, found.shown),
                    },
                    explanation,
                )
            )
    return wrong or passed(
        "answers repeat",
        len(results.probes),
        "a fresh copy, asked in another order and in other batches, answers as was counted",
    )


def _surely_further(attack: BlackBoxAttack) -> bool:
    decided = attack.further + attack.less_far
    if not decided:
        return False
    return bool(binomtest(attack.further, decided, alternative="greater").pvalue < SURE)


def _where(probe: BlackBoxProbe) -> str:
    return f"{probe.model} on {probe.dataset} at {format_radius(probe.norm, probe.eps)}"
