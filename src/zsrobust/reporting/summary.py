"""An evaluation in short: both averages of every method."""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import Place, Series, accuracy_series
from zsrobust.reporting.tables import TextTable


def summary_table(results: Results) -> TextTable:
    """A line a method under each average, with the samples behind it; a column an attack.

    Where a method was trained with several seeds, it is their mean, with ``seeds_interval``.
    """
    attacks = list(dict.fromkeys(row.condition for row in results.rows))
    found = {condition: accuracy_series(results, condition) for condition in attacks}
    groups = []
    for over in ("all", "unseen"):
        of = {
            condition: place
            for condition, (places, _) in found.items()
            for place in places
            if place.over == over
        }
        if not of:
            continue
        widest = max(of, key=lambda condition: of[condition].n)
        whole = of[widest]
        groups.append(
            [
                [
                    *(
                        whole.name,
                        method.legend,
                        str(whole.n),
                        method.clean[whole.name].in_per_cent(),
                    ),
                    *(
                        _robust(method, found[condition][1], of.get(condition), whole)
                        for condition in attacks
                    ),
                ]
                for method in found[widest][1]
            ]
        )
    return TextTable(["data set", "model", "n", "clean", *attacks], groups)


def _robust(method: Series, condition: Sequence[Series], place: Place | None, whole: Place) -> str:
    """The method's figure under one attack, which may not be defined on every set."""
    same = [one for one in condition if one.models == method.models]
    if not same or place is None:
        return "-"
    fewer = f" [n {place.n}]" if place.name != whole.name else ""
    return same[0].robust[place.name].in_per_cent() + fewer
