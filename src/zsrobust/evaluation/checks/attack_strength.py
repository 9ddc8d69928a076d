"""Checks of whether attacks are as strong as they must be: against parts, radii, noise, defences.

Published numbers of test-time defences are often of images made against the undefended model. Croce
et al., "Evaluating the adversarial robustness of adaptive test-time defenses" (ICML 2022), and
Tramer et al., "On adaptive attacks to adversarial example defenses" (NeurIPS 2020) show how little
they tell, and that an attack through a defence may find less than one around it: both are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from zsrobust.attacks import is_black_box
from zsrobust.evaluation.checks.row_groups import (
    is_noise,
    passed,
    radius,
    row_groups,
    significantly_above,
    skipped,
    standing,
    where,
)
from zsrobust.evaluation.results import Finding, Results, Row
from zsrobust.evaluation.statistics import wilson_interval
from zsrobust.models.name_forms import split_arguments

UNDEFENDED_EPS = 1 / 255
UNDEFENDED_ABOVE_CHANCE = 0.1
UNDEFENDED_MOST = 0.05
"""Undefended CLIP-B/32 at 1/255 keeps 4.9 % on average under PGD-100 and 0.1 % under AutoAttack."""


def ensemble_below_parts(results: Results) -> list[Finding]:
    """An ensemble is a per-sample worst case: it never leaves more standing than one of its parts.

    Parts are those that the protocol names under ``parts``, else those around each ``+``.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        by_name = {row.attack: row for row in rows}
        for row in rows:
            for name in _parts(results).get(row.attack, ()):
                part = by_name.get(name)
                if part is None:
                    continue
                compared += 1
                sampled = row.sampling or part.sampling
                if significantly_above(row, part) if sampled else standing(row) > standing(part):
                    wrong.append(
                        Finding(
                            "ensemble below its parts",
                            False,
                            f"{where(row)}: {row.attack} leaves {row.robust_acc:.1%} standing, "
                            f"but its part {name} alone leaves {part.robust_acc:.1%}",
                            {"ensemble": row.robust_acc, "part": part.robust_acc},
                            "A worst case over several attacks cannot be above one of them on the "
                            "same samples. The part was run with other parameters, or its results "
                            "were not carried over; take the lower number until that is settled.",
                        )
                    )
    return wrong or passed(
        "ensemble below its parts",
        compared,
        "no ensemble leaves more standing than one of its parts",
    )


def falls_with_eps(results: Results) -> list[Finding]:
    """Robust accuracy does not rise with eps: the larger ball contains the smaller one."""
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "attack"):
        for small, large in pairwise(sorted(rows, key=lambda row: row.eps)):
            compared += 1
            if significantly_above(large, small):
                wrong.append(
                    Finding(
                        "falls with eps",
                        False,
                        f"{where(large)}: {large.attack} leaves {large.robust_acc:.1%} standing "
                        f"at {radius(large)}, more than the {small.robust_acc:.1%} at "
                        f"{radius(small)}",
                        {
                            "eps": large.eps,
                            "robust": large.robust_acc,
                            "smaller_eps": small.eps,
                            "robust_at_smaller_eps": small.robust_acc,
                        },
                        "What is adversarial at the smaller eps is allowed at the larger one, so "
                        "the attack gets lost on the way: give it more steps or smaller ones, add "
                        "restarts, and attack with a margin loss as well.",
                    )
                )
    return wrong or passed("falls with eps", compared, "robust accuracy never rises with eps")


def white_box_beats_black_box(results: Results) -> list[Finding]:
    """Knowing the gradient helps: no black-box attack beats the strongest white-box one.

    Fails where the black-box accuracy lies below the white-box attack's 95 % interval.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        white = _white_box(results, rows)
        if not white:
            continue
        best = min(white, key=lambda row: row.robust_acc)
        for black in (row for row in rows if is_black_box(row.attack)):
            if black.attack.endswith(f", {black.model})"):
                continue  # Its own images: a white box under another name.
            if not black.adaptive:
                continue  # Compared with all that met the defence by a check of its own.
            compared += 1
            if black.robust_acc < best.ci95_robust[0]:
                wrong.append(
                    Finding(
                        "white box beats black box",
                        False,
                        f"{where(black)} at {radius(black)}: {black.attack} leaves "
                        f"{black.robust_acc:.1%} standing without any gradient, while the best "
                        f"attack with gradients, {best.attack}, leaves {best.robust_acc:.1%}",
                        {"black_box": black.robust_acc, "white_box": best.robust_acc},
                        "The gradients mislead the attack (gradient masking), so the white-box "
                        "number says nothing about robustness. Evaluate with `--sanity true` to "
                        "see why, and report the lowest accuracy that any attack reached.",
                    )
                )
    return wrong or passed(
        "white box beats black box",
        compared,
        "no attack without gradients is surely stronger than the best with them",
    )


def parts_beat_black_box(results: Results) -> list[Finding]:
    """Within an ensemble, a black-box part fells next to nothing that the white-box parts left.

    Fails where it brings the accuracy below the 95 % interval of what they left standing.
    """
    compared, wrong = 0, []
    for row in results.rows:
        shares = list(row.after_part.items())
        for (_, before), (name, after) in pairwise(shares):
            if not is_black_box(name):
                continue
            compared += 1
            if after < wilson_interval(round(before * row.n), row.n)[0]:
                wrong.append(
                    Finding(
                        "white box beats black box",
                        False,
                        f"{where(row)} at {radius(row)}: {name} brings "
                        f"{row.attack} from {before:.1%} to {after:.1%} without any gradient",
                        {"black_box": after, "white_box": before},
                        "Samples that survived attacks with gradients were fooled by one without: "
                        "the gradients mislead (gradient masking), and a stronger black box may "
                        "fool more. Evaluate with `--sanity true` to see why.",
                    )
                )
    return wrong or passed(
        "white box beats black box",
        compared,
        "no black-box part fells what gradients missed",
    )


def attack_beats_noise(results: Results) -> list[Finding]:
    """An attack fells more samples than random noise of the same size.

    Fails only where the noise itself brings the accuracy below the clean one's 95 % interval:
    where neither does any harm there is nothing to tell, and it is skipped.
    """
    compared, untold, wrong = 0, 0, []
    for rows in row_groups(results, "norm", "eps"):
        noises = [row for row in rows if is_noise(row)]
        for noise in noises:
            for attack in _white_box(results, rows):
                compared += 1
                harm = noise.robust_acc < noise.ci95_clean[0]
                untold += not harm and noise.robust_acc <= attack.robust_acc
                if harm and attack.robust_acc > 0 and noise.robust_acc <= attack.robust_acc:
                    wrong.append(
                        Finding(
                            "attack beats noise",
                            False,
                            f"{where(attack)} at {radius(attack)}: {attack.attack} leaves "
                            f"{attack.robust_acc:.1%} standing, random noise of the same size "
                            f"{noise.robust_acc:.1%}",
                            {"noise": noise.robust_acc, "attack": attack.robust_acc},
                            "An attack that chooses its direction does at least as well as one "
                            "that does not. Either its gradients are zero or wrong, or the model "
                            "is merely fragile to noise; evaluate with `--sanity true` to see "
                            "which.",
                        )
                    )
    if 0 < untold == compared:
        sentence = "neither an attack nor random noise of the same size does any harm"
        return [skipped("attack beats noise", untold, sentence)]
    return wrong or passed(
        "attack beats noise", compared, "no attack is as harmless as random noise"
    )


def undefended_falls(results: Results) -> list[Finding]:
    """An undefended model fails under L-inf attacks of 1/255 or more: at most 5 % stay correct.

    Asked only where the clean accuracy is surely 10 points above chance, of the strongest
    white-box attack or ensemble, and by the lower end of the 95 % interval, so that few samples
    raise no alarm.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        strong = [row for row in rows if not is_black_box(row.attack)]
        if not strong:
            continue
        best = min(strong, key=lambda row: row.robust_acc)
        if (
            best.method != "original"
            or best.norm != "linf"
            or best.eps < UNDEFENDED_EPS * (1 - 1e-9)
            or best.ci95_clean[0] < _chance(results, best.dataset) + UNDEFENDED_ABOVE_CHANCE
        ):
            continue
        compared += 1
        if best.ci95_robust[0] > UNDEFENDED_MOST:
            wrong.append(
                Finding(
                    "undefended falls",
                    False,
                    f"{where(best)} at {radius(best)}: the undefended model keeps "
                    f"{best.robust_acc:.1%} under {best.attack} "
                    f"(95 % interval from {best.ci95_robust[0]:.1%}), more than "
                    f"{UNDEFENDED_MOST:.0%}",
                    {
                        "robust": best.robust_acc,
                        "lower_bound": best.ci95_robust[0],
                        "most": UNDEFENDED_MOST,
                        "clean": best.clean_acc,
                    },
                    "An undefended CLIP at 1/255 keeps about 5 % under PGD and nearly nothing "
                    "under AutoAttack. A higher accuracy means that the attack is too weak, for "
                    "every model of the table: check the logit scale, the attack resolution and "
                    "the steps, and use a stronger attack. If these weights were adversarially "
                    "trained, ignore this warning.",
                )
            )
    return wrong or passed(
        "undefended falls",
        compared,
        f"no undefended model keeps significantly more than {UNDEFENDED_MOST:.0%}",
    )


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
            "An attacker who knows of a defence attacks through it. These accuracies say how the "
            "defended model takes images meant for another one, and nothing about its robustness: "
            "name the same attack alone, as `--attack pgd-10`, which goes through the defence, or "
            "evaluate with `--config defence`.",
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
        if significantly_above(through, around):
            wrong.append(
                Finding(
                    "adaptive attack finds more",
                    False,
                    f"{where(through)} at {radius(through)}: the best attack through the defence, "
                    f"{through.attack}, leaves {through.robust_acc:.1%} standing, images made "
                    f"without it, {around.attack}, {around.robust_acc:.1%}",
                    {"adaptive": through.robust_acc, "not_adaptive": around.robust_acc},
                    "The attack that knows more found less: the defence misleads its gradients or "
                    "drowns them in noise (gradient masking). Attack around its gradient, with "
                    "bpda(ATTACK), or on the mean over its draws, with eot-20(ATTACK), and until "
                    "that finds more, report the lower of the two.",
                )
            )
    return wrong or passed(
        "adaptive attack finds more",
        compared,
        "no images made without a defence fooled more than an attack through it",
    )


def _sorted_out(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """The attacks among ``rows`` that met the model's defence, and those that did not."""
    attacks = [row for row in rows if not is_noise(row)]
    return [row for row in attacks if row.adaptive], [row for row in attacks if not row.adaptive]


def _parts(results: Results) -> dict[str, Sequence[str]]:
    """The parts of each ensemble, by name."""
    parts: dict[str, Sequence[str]] = {
        row.attack: split_arguments(row.attack, "+")
        for row in results.rows
        if len(split_arguments(row.attack, "+")) > 1 and not is_black_box(row.attack)
    }
    for attack in results.protocol.get("attacks", ()):
        if named := attack.get("parts"):
            parts[attack["name"]] = [
                part if isinstance(part, str) else part["name"] for part in named
            ]
    return parts


def _white_box(results: Results, rows: Sequence[Row]) -> list[Row]:
    """Those that follow gradients and nothing else."""
    ensembles = _parts(results)
    return [row for row in rows if not is_black_box(row.attack) and row.attack not in ensembles]


def _chance(results: Results, dataset: str) -> float:
    names = results.protocol.get("data", {}).get(dataset, {}).get("class_names", ())
    return 1 / max(2, len(names))
