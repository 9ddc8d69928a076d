"""Pixel distances: written as ``1/255`` or ``0.0039``, kept as a fraction of the pixel range."""

from __future__ import annotations

from zsrobust.errors import RequestError


def parse_eps(value: str | float) -> float:
    """Read a perturbation size in [0, inf) as a fraction of the [0, 1] pixel range.

    Raises:
        RequestError: if ``value`` is no number or fraction, is negative, or is not finite.
    """
    try:
        if isinstance(value, str) and "/" in value:
            numerator, denominator = value.split("/")
            eps = float(numerator) / float(denominator)
        else:
            eps = float(value)
    except (ValueError, ZeroDivisionError):
        raise RequestError(f"eps {value!r} is not a number: write 1/255 or 0.0039") from None
    if not 0 <= eps < float("inf"):
        raise RequestError(f"eps {value!r} must be 0 or more: write 1/255 or 0.0039")
    return eps


def format_eps(eps: float) -> str:
    """Write ``eps`` as ``k/255`` where it is a multiple of 1/1020 (a quarter level), else plain."""
    levels = eps * 255
    quarters = round(levels * 4) / 4
    if abs(levels - quarters) < 1e-9 * max(1.0, levels):
        return f"{quarters:g}/255"
    return repr(eps)
