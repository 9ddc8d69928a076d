"""torch, imported at its first use: for modules that are read before it is known to be needed.

Names and options of methods, attacks and adapters are printed, completed and checked without
waiting for torch. Their modules write ``from zsrobust.utils.lazy import F, Tensor, nn, torch`` and
use these as usual in functions and annotations. A class that derives from ``nn.Module`` lies in a
module of its own, which is imported where one is made. A module of options takes ``TYPE_CHECKING``
from here, too: jsonargparse runs what is below that of ``typing``.

``lazy_loader`` does this for modules, but it also puts an unloaded ``torch`` in ``sys.modules``,
where other packages look whether it is loaded.
"""

from __future__ import annotations

from functools import cache, partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
else:

    class _Lazy:
        """What ``name`` is, as ``pkgutil.resolve_name`` finds it at the first use."""

        def __init__(self, name: str) -> None:
            self._found = cache(partial(resolve_name, name))

        def __getattr__(self, name: str) -> Any:
            # Whatever reads annotations, as the command's parser does, asks every global for some.
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(self._found(), name)

        def __instancecheck__(self, instance: object) -> bool:
            return isinstance(instance, self._found())

    torch = _Lazy("torch")
    Tensor = _Lazy("torch:Tensor")
    nn = _Lazy("torch.nn")
    F = _Lazy("torch.nn.functional")

__all__ = ["TYPE_CHECKING", "F", "Tensor", "nn", "torch"]
