"""Libraries that a format needs and the package itself does not."""

from __future__ import annotations

from importlib.util import find_spec

from zsrobust.utils.errors import RequestError


def require_installed(extra: str, *modules: str) -> None:
    """Refuse what the extra ``extra`` would bring and is not here.

    Raises:
        RequestError: naming the command that installs it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise RequestError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "zsrobust[{extra}]"'
        )
