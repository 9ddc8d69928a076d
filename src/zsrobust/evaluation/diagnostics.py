"""Checks of results by themselves: what cannot be true of a sound evaluation.

Each check takes :class:`Results` and returns a failed finding for every contradiction, one passed
finding if there was something to compare and nothing was wrong, and nothing if there was nothing
to compare. They read rows and protocol alone, so they cost nothing and run on old files too.

Sources: Carlini et al., "On evaluating adversarial robustness" (2019), sections 4 and 5; Athalye
et al., "Obfuscated gradients give a false sense of security" (ICML 2018), section 3.1; Tramer et
al., "On adaptive attacks to adversarial example defenses" (NeurIPS 2020).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from zsrobust.evaluation.collapsed import has_not_collapsed
from zsrobust.evaluation.defence_findings import (
    NOISE,
    adaptive_attack_finds_more,
    defences_are_attacked,
)
from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.length_findings import lengths_fit
from zsrobust.evaluation.probe_findings import answers_repeat, probe_goes_no_further
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.row_groups import passed, radius, row_groups, standing, surely_above, where
from zsrobust.evaluation.statistics import wilson_interval

BLACK_BOX = rf"square|{NOISE}|transfer\(.*\)"

UNDEFENDED_EPS = 1 / 255
UNDEFENDED_ABOVE_CHANCE = 0.1
UNDEFENDED_MOST = 0.05
"""Undefended CLIP-B/32 at 1/255 keeps 4.9 % on average under PGD-100 and 0.1 % under AutoAttack."""

ZERO_GRADIENTS_MOST = 0.5

Check = Callable[[Results], list[Finding]]


def diagnose(results: Results) -> list[Finding]:
    """The findings of every check on ``results``, those of :data:`CHECKS` in their order."""
    return [finding for check in CHECKS for finding in check(results)]


def ensemble_below_parts(results: Results) -> list[Finding]:
    """An ensemble is a per-sample worst case: it never leaves more standing than one of its parts.

    Parts are those that the protocol names under ``parts``, else the words around each ``+``.
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
                if standing(row) > standing(part):
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
            if surely_above(large, small):
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
    return wrong or passed("falls with eps", compared, "robust accuracy rises nowhere with eps")


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
        for black in (row for row in rows if re.fullmatch(BLACK_BOX, row.attack)):
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
            if not re.fullmatch(BLACK_BOX, name):
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
                        "What attacks with gradients left standing fell to one without: the "
                        "gradients mislead (gradient masking), and a stronger black box may fell "
                        "more. Evaluate with `--sanity true` to see why.",
                    )
                )
    return wrong or passed(
        "white box beats black box",
        compared,
        "no black-box part fells what gradients missed",
    )


def gradients_are_there(results: Results) -> list[Finding]:
    """The cross-entropy's gradient is not exactly zero in most pixels: it gives a direction.

    A network of ReLUs has a few such pixels; where they are the most, logits saturate, or a step
    without a gradient lies before them. Not asked where classes tie: then there is none to follow.
    """
    tied = {(row.model, row.dataset) for row in results.rows if _ties_everywhere(row)}
    shares = {
        (row.model, row.dataset): row.zero_gradients
        for row in results.rows
        if not math.isnan(row.zero_gradients) and (row.model, row.dataset) not in tied
    }
    wrong = [
        Finding(
            "gradients are there",
            False,
            f"{model} on {dataset}: {share:.0%} of the gradient's entries are exactly zero",
            {"zero_gradients": share},
            "Attacks that follow this gradient hardly move the image, and the accuracy they leave "
            "means nothing. Attack at another logit scale or with a margin loss, and evaluate with "
            "`--sanity true` to see why.",
        )
        for (model, dataset), share in shares.items()
        if share > ZERO_GRADIENTS_MOST
    ]
    return wrong or passed("gradients are there", len(shares), "no model's gradient is mostly zero")


def classes_are_told_apart(results: Results) -> list[Finding]:
    """The true class does not tie with another in as many cases as there are samples.

    Names that are one to the text side tie, and so do all classes of a model without an answer.
    """
    ties = {(row.model, row.dataset): row for row in results.rows if _ties_everywhere(row)}
    wrong = [
        Finding(
            "classes are told apart",
            False,
            f"{model} on {dataset}: the true class ties with another {row.ties} times in {row.n} "
            "samples, before or after the attack",
            {"ties": row.ties, "n": row.n},
            "The model cannot tell the classes apart, so its accuracy means nothing and no attack "
            "has a direction: check that the class names differ to its text side, and its weights.",
        )
        for (model, dataset), row in ties.items()
    ]
    compared = sum(row.ties > 0 for row in results.rows)
    return wrong or passed("classes are told apart", compared, "few answers are ties")


def attack_beats_noise(results: Results) -> list[Finding]:
    """An attack fells more samples than random noise of the same size.

    Fails only where the noise itself brings the accuracy below the clean one's 95 % interval:
    where neither does any harm there is nothing to tell.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        noises = [row for row in rows if re.fullmatch(NOISE, row.attack)]
        for noise in noises:
            for attack in _white_box(results, rows):
                compared += 1
                harm = noise.robust_acc < noise.ci95_clean[0]
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
    return wrong or passed(
        "attack beats noise", compared, "no attack is as harmless as random noise"
    )


def undefended_falls(results: Results) -> list[Finding]:
    """An undefended model falls under L-inf attacks of 1/255 or more: at most 5 % stand.

    Asked only where the clean accuracy is surely 10 points above chance, of the strongest
    white-box attack or ensemble, and by the lower end of the 95 % interval, so that few samples
    raise no alarm.
    """
    compared, wrong = 0, []
    for rows in row_groups(results, "norm", "eps"):
        strong = [row for row in rows if not re.fullmatch(BLACK_BOX, row.attack)]
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
                    "under AutoAttack. While it stands here, the attack is too weak and no number "
                    "beside it counts: check the logit scale, the attack resolution and the "
                    "steps, and use a stronger attack. If these weights were made robust before "
                    "they came here, there is nothing to mend.",
                )
            )
    return wrong or passed(
        "undefended falls",
        compared,
        f"every undefended model falls to where {UNDEFENDED_MOST:.0%} or less may stand",
    )


def runs_have_finished(results: Results) -> list[Finding]:
    """A fine-tuned model is what its run ended with, not what it had so far."""
    return [
        Finding(
            "runs have finished",
            False,
            f"{model} is of a fine-tuning at {about['unfinished']}",
            {},
            "These are numbers of what the run had so far, not of the model that it will end with: "
            "let it finish, and evaluate again.",
        )
        for model, about in results.protocol.get("models", {}).items()
        if about.get("unfinished")
    ]


CHECKS: tuple[Check, ...] = (
    runs_have_finished,
    ensemble_below_parts,
    falls_with_eps,
    white_box_beats_black_box,
    parts_beat_black_box,
    classes_are_told_apart,
    gradients_are_there,
    attack_beats_noise,
    undefended_falls,
    defences_are_attacked,
    adaptive_attack_finds_more,
    has_not_collapsed,
    lengths_fit,
    probe_goes_no_further,
    answers_repeat,
)


def _ties_everywhere(row: Row) -> bool:
    """Whether ties, counted before and after the attack, are as many as the samples."""
    return row.ties >= row.n


def _parts(results: Results) -> dict[str, Sequence[str]]:
    """The parts of each ensemble, by name."""
    parts: dict[str, Sequence[str]] = {
        row.attack: row.attack.split("+")
        for row in results.rows
        if "+" in row.attack and not re.fullmatch(BLACK_BOX, row.attack)
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
    return [
        row
        for row in rows
        if not re.fullmatch(BLACK_BOX, row.attack) and row.attack not in ensembles
    ]


def _chance(results: Results, dataset: str) -> float:
    names = results.protocol.get("data", {}).get(dataset, {}).get("class_names", ())
    return 1 / max(2, len(names))
