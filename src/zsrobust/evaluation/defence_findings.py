"""Checks of results of models with a test-time defence: was it attacked, or only worked around?

Published numbers of such defences are often of images made against the undefended model. Croce et
al., "Evaluating the adversarial robustness of adaptive test-time defenses" (ICML 2022), and Tramer
et al., "On adaptive attacks to adversarial example defenses" (NeurIPS 2020) show how little they
tell, and that an attack through a defence may find less than one around it: both are needed.
"""

from __future__ import annotations

import re

from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.row_groups import passed, radius, row_groups, standing, surely_above, where

NOISE = r"noise-\d+"


def defences_are_attacked(results: Results) -> list[Finding]:
    """Where a defended model met images made without its defence, it was attacked itself as well.

    One finding a model, over all its sets and radii.
    """
    compared: dict[str, int] = {}
    missing: dict[str, list[Row]] = {}
    for rows in row_groups(results, "norm", "eps"):
        adaptive, others = _sorted_out(rows)
        if not others:
            continue
        model = rows[0].model
        compared[model] = compared.get(model, 0) + 1
        if not adaptive:
            missing.setdefault(model, []).append(others[0])
    wrong = [
        Finding(
            "defence is attacked",
            False,
            f"{model}: every image was made without its test-time defence, such as those of "
            f"{rows[0].attack} on {rows[0].dataset}, so no attack knew of the defence",
            {"without_adaptive_attack": len(rows), "of": compared[model]},
            "Whoever knows of a defence attacks through it. These accuracies say how the defended "
            "model takes images meant for another one, and nothing about its robustness: name the "
            "same attack alone, as `--attack pgd-10 autoattack`, which goes through the defence.",
        )
        for model, rows in missing.items()
    ]
    return wrong or passed(
        "defence is attacked", sum(compared.values()), "every defence was attacked itself"
    )


def adaptive_attack_finds_more(results: Results) -> list[Finding]:
    """An attack through a defence leaves no more standing than images made without it.

    Compared is the strongest attack of each kind; one sample, or one in 200, may be bad luck.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        adaptive, others = _sorted_out(rows)
        if not adaptive or not others:
            continue
        compared += 1
        through, around = (min(kind, key=standing) for kind in (adaptive, others))
        if surely_above(through, around):
            wrong.append(
                Finding(
                    "adaptive attack finds more",
                    False,
                    f"{where(through)} at {radius(through)}: the best attack through the defence, "
                    f"{through.attack}, leaves {through.robust_acc:.1%} standing, images made "
                    f"without it, {around.attack}, {around.robust_acc:.1%}",
                    {"adaptive": through.robust_acc, "not_adaptive": around.robust_acc},
                    "The attack that knows more found less: the defence misleads its gradients or "
                    "drowns them in noise (gradient masking). Give it more steps and draws "
                    "(`eot=K`), and until it finds more, report the lower of the two.",
                )
            )
    return wrong or passed(
        "adaptive attack finds more",
        compared,
        "no images made without a defence fell more than an attack through it",
    )


def _sorted_out(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The attacks among ``rows`` that met the model's defence, and those that did not."""
    attacks = [row for row in rows if not re.fullmatch(NOISE, row.attack)]
    return [row for row in attacks if row.adaptive], [row for row in attacks if not row.adaptive]
