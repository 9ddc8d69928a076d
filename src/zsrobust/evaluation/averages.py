"""The mean of a model's results over data sets, and which sets a named one is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import format_radius

if TYPE_CHECKING:  # It takes numpy, which plans can be read without.
    from zsrobust.evaluation.statistics import Interval


class _OfSet(Protocol):
    @property
    def dataset(self) -> str: ...


OfSet = TypeVar("OfSet", bound=_OfSet)

WITHOUT = "without_classes_of"


@dataclass(frozen=True)
class Averaged:
    """Which sets an average is over.

    Attributes:
        name: of the average.
        entries: one or more, each one set or more; every entry counts once, and the sets of one
            share its weight equally. No set is there twice.
        without: a set whose classes do not count in any other, as in
            :meth:`EvaluatedRun.without_classes_of`; empty for none.
    """

    name: str
    entries: tuple[tuple[str, ...], ...]
    without: str = ""

    @classmethod
    def of_plain(cls, name: str, plain: Any) -> Averaged:
        """From a list of sets, and of lists of sets that count once.

        Or from such a list as ``sets``, and a set's name as ``without_classes_of``.

        Raises:
            RequestError: if it is no such list, or empty, or names a set twice.
        """
        without = ""
        if isinstance(plain, dict) and set(plain) == {"sets", WITHOUT}:
            plain, without = plain["sets"], str(plain[WITHOUT])
        entries = plain if isinstance(plain, list) else [None]
        entries = [[one] if isinstance(one, str) else one for one in entries]
        if not entries or not all(
            isinstance(one, list) and one and all(isinstance(name, str) for name in one)
            for one in entries
        ):
            raise RequestError(
                f"the average {name!r} is over {plain!r}: list sets, and lists of sets that count "
                "once together, none of them empty"
            )
        found = cls(str(name), tuple(map(tuple, entries)), without)
        twice = [one for one in dict.fromkeys(found.sets) if found.sets.count(one) > 1]
        if twice:
            raise RequestError(f"the average {name!r} has {', '.join(twice)} twice: name it once")
        return found

    @property
    def plain(self) -> list[str | list[str]] | dict[str, Any]:
        """What :meth:`of_plain` reads."""
        sets = [[*one] if len(one) > 1 else one[0] for one in self.entries]
        return {"sets": sets, WITHOUT: self.without} if self.without else sets

    @property
    def sets(self) -> list[str]:
        """The sets in order."""
        return [name for one in self.entries for name in one]

    @property
    def asked(self) -> list[str]:
        """The sets that must be evaluated for it."""
        return [*self.sets, *([self.without] if self.without else [])]

    @property
    def weights(self) -> list[float]:
        """Of the sets in order; they add up to the number of entries."""
        return [1 / len(one) for one in self.entries for _ in one]

    def of(self, rows: Sequence[OfSet]) -> list[OfSet]:
        """Those of its sets in order.

        Raises:
            RequestError: if there are none of a set.
        """
        found = {row.dataset: row for row in rows}
        if lacking := [name for name in self.sets if name not in found]:
            raise RequestError(
                f"there is no result on {', '.join(lacking)}, which the average {self.name!r} "
                "is over"
            )
        return [found[name] for name in self.sets]


@dataclass(frozen=True)
class Average:
    """Means over data sets of one model under one attack; fields as in ``Row``.

    Attributes:
        over: ``all`` sets, or those ``unseen`` by every model of the evaluation, each counting
            once; or the name of :class:`Averaged`.
        datasets: how many sets the attack is defined on; of a named one, how many entries count.
        changed: whether the attack was changed for one of them, for lack of classes.
        adaptive: as in ``Row``.
        sampled: whether the robust accuracy of one of them is estimated from a part of the samples.
    """

    over: str
    datasets: int
    changed: bool
    model: str
    attack: str
    norm: str
    eps: float
    clean_acc: float
    robust_acc: float
    ci95_clean: Interval
    ci95_robust: Interval
    adaptive: bool = True
    sampled: bool = False

    @property
    def title(self) -> str:
        """Such as ``average of 5 unseen``, or ``average of 14 (sets of the paper)``."""
        over = self.over if self.over in ("all", "unseen") else f"({self.over})"
        return f"average of {self.datasets} {over}"

    @property
    def condition(self) -> str:
        """Attack and radius, such as ``pgd-10 1/255``."""
        return f"{self.attack} {format_radius(self.norm, self.eps)}"
