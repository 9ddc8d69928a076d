"""Checks of values that a user gave, with one sentence for what is wrong."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

# No name, path or prompt has one: control characters, and halves of letters.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_LARGEST = 2**63
# Options as other scripts of the field call them, where the spelling does not tell.
_OTHER_WORDS = {
    "bs": "batch_size",
    "epsilon": "eps",
    "learning_rate": "lr",
    "out_dir": "out",
    "output_dir": "out",
    "random_seed": "seed",
    "recipe": "config",
    "wd": "weight_decay",
}
LARGEST_USUAL_LINF = 32 / 255
LARGEST_TINY_L2 = 8 / 255


def in_short(value: object, longest: int = 200) -> str:
    """``value`` in a line of a message, however long it is."""
    text = " ".join(str(value).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The sentence that refuses ``name``, with the nearest of ``known``, or all of them."""
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"choose {', '.join(known)}"
    return f"there is no {kind} {in_short(name)!r}: {hint}"


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.7) -> str | None:
    """The one of ``known`` that ``name`` is probably a misspelling of, in either case."""
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=cutoff)
    return spelled[near[0]] if near else None


def no_option(option: str, known: Collection[str], *, kind: str = "option", help: str = "") -> str:
    """The sentence that refuses an option, with those of ``known`` that may be meant.

    Args:
        option: as it was given, with its dashes if it had any.
        known: the names of all options, without dashes.
        kind: what it is called, ``option`` or, of a file, ``key``.
        help: where options are listed, for one that resembles none.
    """
    name = option.lstrip("-")
    dashes = "--" if name != option else ""
    near = " or ".join(dashes + one for one in _meant_options(name.replace("-", "_"), known))
    hint = f"; did you mean {near}?" if near else f"; {help}" if help else ""
    return f"there is no {kind} {in_short(option)}{hint}"


def _meant_options(key: str, known: Collection[str]) -> list[str]:
    """Those of ``known`` whose last part is nearest to that of ``key``, in its group if any."""
    group, dot, last = key.rpartition(".")
    last = _OTHER_WORDS.get(last.lower(), last)
    ends: dict[str, list[str]] = {}
    for name in sorted(known):
        ends.setdefault(name.rpartition(".")[2], []).append(name)
    if not dot:
        near = nearest(last, ends, cutoff=0.65) or ""
        return [near] if near in known else ends.get(near, [])
    if group in known:
        return [group]
    near_group = nearest(group, [name.rpartition(".")[0] for name in known], cutoff=0.65)
    ends_there = [end for end in ends if f"{near_group}.{end}" in known]
    near = nearest(last, ends_there, cutoff=0.65) or ""
    return [f"{near_group}.{near}"] if near else ends.get(last, [])


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Refuse a value out of range.

    Raises:
        RequestError: unless ``ok``, with the key, the value and what is allowed.
    """
    if not ok:
        raise RequestError(f"{key} is {in_short(value)}: must be {allowed}")


def require_linf_length(key: str, length: float, *, norm: str = "") -> None:
    """Refuse a length, in L-inf, that is hardly meant: scripts of the field write 1 for 1/255.

    Args:
        key: what to call it.
        length: a fraction of the pixel range.
        norm: the option that would make it one in L2, if there is one.

    Raises:
        RequestError: if ``length`` is 1 or more, an ``Eps`` above 32/255 that was not written as a
            fraction, or one that was, of another number than 255.
    """
    other = f", or {norm} l2" if norm else ""
    hint = f"did you mean {length:.3g}/255{other}?" if length < 255 else "write 1/255 or 0.0039"
    shown = f"{length:g}"
    require(length < 1, key, shown, f"below 1, the whole pixel range; {hint}")
    this_much = f"Write '{255 * length:.4g}/255' for this much"
    fraction = length.fraction if isinstance(length, Eps) else None
    if fraction and fraction[1] not in (1, 255):
        levels = f"{fraction[0]:g}"
        allowed = f"a fraction of 255; did you mean {levels}/255? {this_much}"
        require(False, key, f"{levels}/{fraction[1]:g}", allowed)
    written = fraction is not None or not isinstance(length, Eps)
    require(
        written or length <= LARGEST_USUAL_LINF,
        key,
        shown,
        f"32/255 or less in linf; {hint} {this_much}",
    )


def require_radius(key: str, eps: Eps, norm: str) -> None:
    """Refuse a radius that is hardly meant in its norm.

    Raises:
        RequestError: in ``linf`` as ``require_linf_length``; in ``l2`` above 0 up to 8/255, which
            is less than rounding to 8 bits changes an image of 32 px.
    """
    if norm == "linf":
        require_linf_length(key, eps, norm=key.replace("eps", "norm"))
    else:
        allowed = "0, or above 8/255 in l2, where the changes of all pixels add up; try 0.5"
        require(not eps or eps > LARGEST_TINY_L2, key, eps, allowed)


def require_template(key: str, template: str) -> None:
    """Refuse a prompt that does not say where the class name goes.

    Raises:
        RequestError: unless ``template`` holds ``{}`` once and no other brace.
    """
    before, _, after = template.partition("{}")
    placed = "{}" in template and not re.search("[{}]", before + after)
    allowed = "text with {} in it once, for the class name, and no other brace"
    require(placed, key, repr(template), f"{allowed}, as in: a photo of a {{}}.")


TEMPLATE_SETS = ("single", "ensemble")
"""Words that stand for prompts."""


def check_templates(templates: list[str] | None) -> None:
    """Refuse prompts that do not say where the class name goes.

    A name in ``TEMPLATE_SETS``, alone, stands for its prompts.

    Raises:
        RequestError: if the list is empty, or a template does not hold ``{}`` once, its only brace.
    """
    require(templates is None or len(templates) > 0, "templates", templates, "a list, or null")
    if templates and len(templates) == 1 and templates[0] in TEMPLATE_SETS:
        return
    for template in templates or []:
        require_template("templates", template)


def check_types(options: Any, prefix: str = "") -> None:
    """Refuse a dataclass whose fields hold what their annotations do not allow.

    The command line checks types itself; this holds for Python, where ``name="adam"`` would
    otherwise quietly mean whatever the ``else`` branch does.

    Raises:
        RequestError: naming the field, its value and what is allowed.
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        if not _fits(value, hints[field.name]):
            allowed = described(hints[field.name])
            require(False, f"{prefix}{field.name}", repr(value), allowed)


def check_values(value: Any, key: str = "") -> None:
    """Refuse what no option can mean, anywhere in a dataclass: it would fail much later, or pass.

    Raises:
        RequestError: naming the field, if a number is not finite or does not fit 64 bits, or text
            holds a control character.
    """
    if is_dataclass(value):
        for field in fields(value):
            check_values(getattr(value, field.name), f"{key}.{field.name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            check_values(item, key)
    elif isinstance(value, float):
        require(math.isfinite(value), key, value, "finite")
    elif isinstance(value, int):
        require(-_LARGEST <= value < _LARGEST, key, value, "of 64 bits")
    elif isinstance(value, str):
        plain = not _UNPRINTABLE.search(value)
        require(plain, key, repr(value), "without control characters")


def misfit(key: str, value: Any, hint: Any) -> str | None:
    """What is wrong with a value from YAML or the command line, as a sentence; None if it fits.

    Args:
        key: what the sentence calls it.
        value: as ``yaml.safe_load`` reads it.
        hint: the annotation of the field that it is for.
    """
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        wrong = [misfit(key, value, part) for part in get_args(hint)]
        return None if None in wrong else _must_be(key, value, hint)
    if origin is list and isinstance(value, list):
        return next(filter(None, (misfit(key, item, get_args(hint)[0]) for item in value)), None)
    if is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        needed = [f.name for f in fields(hint) if f.default is f.default_factory is MISSING]
        wrong = [
            *(_no_key(name, key, hints) for name in value if name not in hints),
            *(f"missing: {name} in {key}" for name in needed if name not in value),
            *(misfit(f"{key}.{n}", v, hints[n]) for n, v in value.items() if n in hints),
        ]
        return next(filter(None, wrong), None)
    if hint in (float, Eps):
        try:
            hint(value)
        except RequestError as error:
            return f"{key}: {error}"
        except (TypeError, ValueError):
            return _must_be(key, value, hint)
        return None
    # jsonargparse takes every value for text where a field is text.
    return None if hint is str or _fits(value, hint) else _must_be(key, value, hint)


def _no_key(name: str, of: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"there is no key {name} in {of}{f'; did you mean {near}?' if near else ''}"


def _must_be(key: str, value: Any, hint: Any) -> str:
    return f"{key} is {in_short(value)}: must be {described(hint)}{_meant(value, hint)}"


def _meant(value: Any, hint: Any) -> str:
    """The choice of a ``Literal`` that was probably meant, as the end of a sentence."""
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    near = nearest(str(value), [str(choice) for part in literals for choice in get_args(part)])
    return f"; did you mean {near}?" if near else ""


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    # A protocol cannot be checked by isinstance; its own code checks it.
    return getattr(hint, "_is_protocol", False) or isinstance(value, hint)


def described(hint: Any) -> str:
    """The values that a type hint allows, in words: ``int, or null``."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return ", or ".join(described(part) for part in get_args(hint))
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if origin is list:
        return f"a list of {described(get_args(hint)[0])}"
    texts = {type(None): "null", bool: "true or false", Eps: "0 or more, such as 1/255 or 0.0039"}
    return texts.get(hint) or str(getattr(hint, "__name__", hint))
