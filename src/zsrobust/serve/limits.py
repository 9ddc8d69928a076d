"""Limits on the input of the app, checked on the server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps


@dataclass(frozen=True)
class Limits:
    """Upper limits.

    Attributes:
        upload_bytes: of an uploaded file.
        pixels: of a decoded image.
        aspect: longer side over shorter side; the resize brings the shorter one to a fixed size,
            so that a long thin image would become a huge one.
        classes: number of class names.
        letters: characters of a class name.
        steps: of an attack.
        eps: radius of an attack, as a fraction of the pixel range.
        waiting: requests that wait in the queue.
        models: served side by side.
    """

    upload_bytes: int = 8_000_000
    pixels: int = 25_000_000
    aspect: int = 20
    classes: int = 1000
    letters: int = 100
    steps: int = 200
    eps: Eps = field(default_factory=lambda: Eps("16/255"))
    waiting: int = 16
    models: int = 4

    def read_class_names(self, text: object) -> tuple[str, ...]:
        """The names in ``text``, one per line or separated by commas.

        Raises:
            RequestError: if there are fewer than two, too many, too long ones, one twice, or one
                with a control character.
        """
        parts = [" ".join(part.split()) for part in re.split(r"[\n,]", str(text or ""))]
        names = tuple(part for part in parts if part)
        if len(names) < 2:
            raise RequestError("give at least two class names, one per line or separated by commas")
        if len(names) > self.classes:
            raise RequestError(
                f"{len(names)} class names are too many: give at most {self.classes}"
            )
        for name in names:
            if not name.isprintable():
                raise RequestError(f"the class name {name!r} contains a control character")
            if len(name) > self.letters:
                raise RequestError(
                    f"the class name {name[:20]}... has {len(name)} characters: give at most "
                    f"{self.letters}"
                )
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RequestError(f"the class name {twice!r} is given twice")
        return names

    def read_eps(self, text: object) -> Eps:
        """The radius that ``text``, such as ``4/255``, means.

        Raises:
            RequestError: if it is no fraction or number, or too large.
        """
        written = str(text).strip()
        eps = Eps(written)
        if eps > self.eps:
            levels = not eps.fraction and 1 <= eps <= 255 * self.eps
            hint = f"; did you mean {written}/255?" if levels else ""
            raise RequestError(f"eps {written} is too large: give at most {self.eps}{hint}")
        return eps

    def read_steps(self, value: object) -> int:
        """The number of steps that ``value`` means.

        Raises:
            RequestError: if it is no whole number from 1 on, or too large.
        """
        if value is None:
            raise RequestError("steps is empty: give a number")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestError(f"steps is {value!r}: give a number")
        if not (float(value).is_integer() and 1 <= value <= self.steps):
            raise RequestError(f"steps is {value:g}: give a whole number from 1 to {self.steps}")
        return int(value)

    def read_target(self, text: object, names: tuple[str, ...]) -> int | None:
        """The index in ``names`` of the target class; None for an empty text.

        Raises:
            RequestError: if it is none of the names.
        """
        target = str(text or "").strip()
        if not target:
            return None
        if target not in names:
            raise RequestError(f"the target class {target!r} is not among the class names")
        return names.index(target)
