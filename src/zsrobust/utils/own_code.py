"""Python files of the user's own, named ``FILE.py:NAME``: attacks and losses registered in them."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from zsrobust.utils.errors import RequestError, RunError, ZSRobustError
from zsrobust.utils.files import local_path, sha256_of
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import nearest, require

PREFIX = "zsrobust_own_"
"""What names of modules made from such files begin with."""
_DIGESTS: dict[str, str] = {}
_FILE = re.compile(r"[^+(,\s][^+(,]*?\.py(?=:)")


def split_own(name: str) -> tuple[str, str] | None:
    """The file and the name in it of ``FILE.py:NAME``; None for another name."""
    file, colon, rest = name.partition(".py:")
    return (f"{file}.py", rest) if colon else None


def code_of(names: Iterable[str], recorded: list[str]) -> list[str]:
    """``FILE sha256:HEX`` of every file in ``names``, such as ``a.py:one+b.py:two``, sorted.

    Args:
        names: of attacks or methods.
        recorded: the same from an earlier run, empty for none.

    Raises:
        RequestError: if a file is not there, or is not as it was recorded.
    """
    files = sorted({file for name in names for file in _FILE.findall(name)})
    found = [f"{file} sha256:{sha256_of(_existing(file))}" for file in files]
    if recorded and sorted(recorded) != found:
        changed = sorted({*recorded} ^ {*found})[0].split(" sha256:")[0]
        raise RequestError(
            f"code: {changed} is not as this configuration recorded it: restore it, or remove code "
            "from the configuration to run what is there now"
        )
    return found


def load_own(file: str) -> ModuleType:
    """The module in ``file``, run once for each content; it may import files beside it.

    Raises:
        RequestError: if it is not there, or running it fails.
    """
    path = _existing(file).resolve()
    return _module(path, path.read_bytes())


@cache
def _module(path: Path, source: bytes) -> ModuleType:
    digest = hashlib.sha256(source).hexdigest()
    place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    module = ModuleType(f"{PREFIX}{path.stem}_{place}_{digest[:8]}")
    module.__file__ = str(path)
    _DIGESTS[module.__name__] = digest
    # Dataclasses look their own module up, and the file may import others beside it.
    sys.modules[module.__name__] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        # Not from a cache of compiled files, which an edit within a second leaves as it is.
        exec(compile(source, str(path), "exec"), module.__dict__)
    except ZSRobustError as error:
        raise RequestError(f"{path.name}{_line(error, path)}: {error}") from None
    except Exception as error:
        raise RequestError(f"{path.name}{_line(error, path)}: {said(error)}") from error
    return module


def function_options(
    function: Callable[..., Any], given: int, signature: str, about: Collection[str] = ()
) -> dict[str, Any]:
    """The parameters of a registered function after the first ``given``, with their defaults.

    Those called as in ``about`` are given by name, too, and are left out.

    Raises:
        RequestError: if it takes fewer, or one of the others has no default.
    """
    parameters = list(inspect.signature(function).parameters.values())
    options = {one.name: one.default for one in parameters[given:] if one.name not in about}
    fits = len(parameters) >= given and inspect.Parameter.empty not in options.values()
    by_name = f"{' and '.join(sorted(about))} where asked for, " if about else ""
    allowed = f"{signature}, {by_name}and others only with defaults"
    require(fits, f"what {function.__name__} takes", inspect.signature(function), allowed)
    return options


def no_such_name(what: str, file: str, name: str, known: Iterable[str]) -> RequestError:
    """The error for a name that ``file`` does not register.

    Args:
        what: ``attack`` or ``method``.
        file: as it was written.
        name: as it was written, without the file.
        known: what the file registers.
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {file}:{near}? " if near else ""
    there = f"it registers {', '.join(names)}" if names else f"it registers no {what}"
    return RequestError(f"{what} {f'{file}:{name}'!r} is unknown: {hint}{there}")


def is_own(kind: type) -> bool:
    """Whether a class, or the function that it was made of, is from such a file."""
    return kind.__module__.startswith(PREFIX)


@contextmanager
def blamed(kind: type, what: str) -> Iterator[None]:
    """Name file and line where the code of ``kind`` fails, if it is from such a file.

    Raises:
        RunError: in the place of an error that is none of this package.
    """
    try:
        yield
    except ZSRobustError:
        raise
    except Exception as error:
        if not is_own(kind):
            raise
        path = Path(str(sys.modules[kind.__module__].__file__))
        raise RunError(f"{what} fails in {path.name}{_line(error, path)}: {said(error)}") from error


@cache
def described(kind: type) -> dict[str, str]:
    """What decides what a class does, of one outside this package: the SHA-256 of its source."""
    if kind.__module__.partition(".")[0] == "zsrobust":
        return {}
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if file and Path(file).is_file():
        digest = _DIGESTS.get(kind.__module__) or sha256_of(Path(file))
        return {"file": Path(file).name, "sha256": digest}
    # In a notebook or a session there is the text of the class or function alone.
    try:
        source = inspect.getsource(getattr(kind, "function", kind))
    except (OSError, TypeError):
        source = uuid4().hex  # Of unknown code: never the same as another.
    return {"file": "", "sha256": hashlib.sha256(source.encode()).hexdigest()}


def module_code(module: nn.Module) -> dict[str, str]:
    """The SHA-256 of the source of every class in ``module``, but for those of torch, by name."""
    kinds: set[type] = {type(part) for part in module.modules()}
    found = {f"{kind.__module__}.{kind.__qualname__}": described(kind) for kind in kinds}
    return {
        name: about["sha256"]
        for name, about in sorted(found.items())
        if about and not name.startswith("torch.")
    }


def _existing(file: str) -> Path:
    path = local_path(file)
    if not path.is_file():
        raise RequestError(f"there is no file {file}: write FILE.py:NAME")
    return path


def _line(error: BaseException, path: Path) -> str:
    """``, line 12``, the last of the error's places that lie in the file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    return f", line {lines[-1]}" if lines else ""


def said(error: Exception) -> str:
    """The class and the message of an error, in one line."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
