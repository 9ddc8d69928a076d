"""The export formats, one a module; each registers itself when it is imported here."""

from importlib import import_module
from pkgutil import iter_modules

from zsrobust.export.format import FORMATS

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["FORMATS"]
