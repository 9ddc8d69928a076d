"""Pixel distances: written as ``1/255`` or ``0.0039``, stored as a fraction of the pixel range.

``fractions.Fraction`` does not read ``0.5/255``.
"""

from __future__ import annotations

from zsrobust.utils.errors import RequestError


class Eps(float):
    """A pixel distance, 0 or more, as a fraction of the pixel range.

    Made from a number or from text such as ``1/255``; shown as ``k/255`` where it is a multiple
    of a quarter level, else as a plain number.

    Attributes:
        fraction: numerator and denominator where it was written as a fraction, which says its unit.

    Raises:
        RequestError: if it is not a number or fraction, is negative, or is not finite.
    """

    fraction: tuple[float, float] | None

    def __new__(cls, value: str | float) -> Eps:
        """Read ``value``."""
        fraction = getattr(value, "fraction", None)
        try:
            if isinstance(value, str) and "/" in value:
                numerator, denominator = map(float, value.split("/"))
                fraction = numerator, denominator
                eps = numerator / denominator
            else:
                eps = float(value)
        except (ValueError, TypeError, ZeroDivisionError):
            raise RequestError(f"{value!r} is not a number: write 1/255 or 0.0039") from None
        if not 0 <= eps < float("inf"):
            raise RequestError(f"{value!r} must be 0 or more: write 1/255 or 0.0039")
        made = super().__new__(cls, eps)
        made.fraction = fraction
        return made

    @classmethod
    def of_attack(cls, eps: float) -> Eps:
        """The radius of an attack that is there already, as good as written as a fraction."""
        return cls(f"{float(eps)!r}/1")

    def __str__(self) -> str:
        """``1/255``, or the plain number."""
        levels = float(self) * 255
        quarters = round(levels * 4) / 4
        if abs(levels - quarters) < 1e-9 * max(1.0, levels):
            return f"{quarters:g}/255"
        return float.__repr__(self)

    __repr__ = __str__


def format_radius(norm: str, eps: float) -> str:
    """A radius as text: ``1/255`` in L-inf, ``l2 0.5`` in L2, where levels mean nothing."""
    return str(Eps(eps)) if norm == "linf" else f"{norm} {eps:g}"
