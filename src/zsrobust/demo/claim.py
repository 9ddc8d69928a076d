"""The sentence on what a demonstration shows, computed from its outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.comparison.gap import Gap, average_rows, gaps
from zsrobust.evaluation.evaluated_run import EvaluatedRun


@dataclass(frozen=True)
class Claim:
    """All that the sentence says.

    Attributes:
        condition: attack and radius.
        over: ``unseen`` sets, or ``all`` where every set was seen; or the name of an average.
        sets, n: how many sets and samples the averages are over; of a named one, how many entries.
        seeds: training runs of each method; intervals are over samples, and over these too where
            there are several.
        original_clean, original_robust: averages of the original, in [0, 1].
        clean, robust: PMG-AFT against TeCoA.
    """

    condition: str
    over: str
    sets: int
    n: int
    seeds: int
    original_clean: float
    original_robust: float
    clean: Gap
    robust: Gap

    @property
    def verdict(self) -> Literal["holds", "does not hold", "is not decided"]:
        """On the claim that PMG-AFT is the better one, clean and robust."""
        verdicts = {self.clean.verdict, self.robust.verdict}
        if verdicts == {"above"}:
            return "holds"
        return "does not hold" if "below" in verdicts else "is not decided"


def find_claim(
    run: EvaluatedRun,
    condition: str,
    original: str,
    pairs: Sequence[tuple[str, str]],
    sets: Averaged | None = None,
) -> Claim:
    """Compare on the average over unseen sets; over all where there is no unseen one.

    Args:
        run: the evaluation.
        condition: attack and radius, such as ``pgd-10 1/255``.
        original: name of the undefended model.
        pairs: names of TeCoA's and PMG-AFT's model, a pair a seed.
        sets: of another average.

    Raises:
        RequestError: if a model, the attack or a set is not in the evaluation.
    """
    rows = average_rows(run, condition, [original], sets)[original]
    seen = {row.dataset for row in run.results.rows if row.seen}
    usual = "all" if rows[0].dataset in seen else "unseen"
    clean, robust = gaps(run, condition, pairs, sets)
    weights = sets.weights if sets else None
    return Claim(
        condition=condition,
        over=sets.name if sets else usual,
        sets=len(sets.entries) if sets else len(rows),
        n=sum(row.n for row in rows),
        seeds=len(pairs),
        original_clean=float(np.average([row.clean_acc for row in rows], weights=weights)),
        original_robust=float(np.average([row.robust_acc for row in rows], weights=weights)),
        clean=clean,
        robust=robust,
    )


def sentence(claim: Claim) -> str:
    """What was found, in one sentence; accuracies in per cent, differences in points."""
    where = f"the average of {claim.sets} {'unseen ' if claim.over == 'unseen' else ''}sets"
    if claim.over not in ("all", "unseen"):
        where = f"the average of {claim.sets}, {claim.over}"
    elif claim.sets == 1:
        where = "the one unseen set" if claim.over == "unseen" else "the one set"
    seeds = f", mean of {claim.seeds} seeds" if claim.seeds > 1 else ""
    return (
        f"On {where} (n {claim.n}{seeds}), where {claim.condition} takes the original from "
        f"{claim.original_clean:.1%} to {claim.original_robust:.1%}, "
        f"{_compared(claim.clean, 'clean')} and {_compared(claim.robust, 'robust')}: the paper's "
        f"claim that PMG-AFT is better than TeCoA in both {claim.verdict} here."
    )


def _compared(gap: Gap, kind: str) -> str:
    low, high = (100 * limit for limit in gap.interval)
    verdict = {
        "above": f"PMG-AFT's {kind} accuracy is above TeCoA's",
        "below": f"PMG-AFT's {kind} accuracy is below TeCoA's",
        "undecided": f"the two methods' {kind} accuracies are not distinguishable",
    }[gap.verdict]
    return (
        f"{verdict} ({gap.second:.1%} against {gap.first:.1%}, difference "
        f"{100 * gap.difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f})"
    )
