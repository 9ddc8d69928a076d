"""``FILE.py:NAME(MODEL, KEY=VALUE)``: a test-time defence of the user's own.

NAME is a :class:`Defence` or a function ``NAME(classifier, KEY=DEFAULT)``, which is given the
undefended :class:`ZeroShotClassifier` and returns what answers in its place: a module, or any
function, from images in [0, 1], (N, 3, H, W), to logits (N, C).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import Defence, defended
from zsrobust.models.name_forms import Form
from zsrobust.models.zero_shot import ZeroShotClassifier, require_output
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import forked_rng, pixel_keys, sample_key
from zsrobust.utils.own_code import blamed, function_options, load_own, no_such_name, split_own

Answer = Callable[[Tensor], Tensor]
PROBED = 64
"""Side in pixels of the images by which it is found out whether a function draws."""


@dataclass(frozen=True)
class FunctionDefence(Defence):
    """A defence that is a function; :func:`own_defence` makes its class.

    Its gradient is whatever autograd finds. Random numbers of torch's global generators are its
    own; a redrawn defence meets others for each key and each batch. Its cost is not known, and
    counts as one forward pass.
    """

    function: ClassVar[Callable[..., Answer]]

    key: int | None = field(default=None, compare=False, kw_only=True)
    made: WeakKeyDictionary[ZeroShotClassifier, Answer] = field(
        default_factory=WeakKeyDictionary, compare=False, repr=False, kw_only=True
    )

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionDefence:
        """A copy of a classifier has another, so that one with state answers as if never asked."""
        again = replace(self, made=WeakKeyDictionary())
        for classifier, answer in self.made.items():
            again.made[copy.deepcopy(classifier, memo)] = copy.deepcopy(answer, memo)
        return again

    @property
    def views(self) -> int:
        """One."""
        return 1

    def is_random(self, undefended: ZeroShotClassifier, model: CLIPModel) -> bool:
        """Whether the function's answers differ from one state of the generators to another."""
        side = model.preprocessing.image_size or PROBED
        device = undefended.class_embeddings.device
        images = torch.full((2, 3, side, side), 0.5, device=device)
        with torch.no_grad():
            first, other = (self.redrawn(key).logits(undefended, images, model) for key in range(2))
        return not torch.equal(first, other)

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Refused.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"{self.word} gives logits, and no embeddings")

    def logits(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Logits (N, C) in fp32 of ``images`` (N, 3, H, W) in [0, 1].

        Raises:
            RequestError: if the function gives anything else.
            RunError: if it fails.
        """
        with blamed(type(self), f"defence {self.word}"):
            answer = self.made.get(undefended)
            if answer is None:
                answer = self.made[undefended] = type(self).function(undefended, **self.options)
            if self.key is None:
                found = answer(images)
            else:
                with forked_rng(
                    self.key ^ int(pixel_keys(images, seed=0, purpose=self.word).sum())
                ):
                    found = answer(images)
        classes = len(undefended.class_names)
        require_output(found, f"defence {self.word}", "logits", len(images), classes)
        return found.float()

    def redrawn(self, key: int) -> FunctionDefence:
        """The same with random numbers of its own for each ``key``."""
        return replace(self, key=sample_key(0, "redrawn", 0, self.word, key))


def load_own_defence(form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``FILE.py:NAME(MODEL, KEY=VALUE)``, its parameters frozen.

    Args:
        form: the name.
        load: loads MODEL by name.

    Raises:
        RequestError: as from :func:`own_defence`, if an option is unknown or has no such value, or
            MODEL is defended already.
    """
    return defended(own_defence(form.word), form, load)


def own_defence(word: str) -> type[Defence]:
    """The class of the defence that ``FILE.py:NAME`` is.

    Raises:
        RequestError: if the file or the name is not there, running the file fails, or NAME is
            neither a defence nor a function of a classifier.
    """
    found = split_own(word)
    assert found is not None
    file, name = found
    module = load_own(file)
    made = vars(module).get(name)
    if isinstance(made, type) and issubclass(made, Defence):
        made.word = getattr(made, "word", name)
        return made
    if not inspect.isfunction(made):
        there = [
            key
            for key, one in vars(module).items()
            if getattr(one, "__module__", "") == module.__name__ and inspect.isfunction(one)
        ]
        raise no_such_name("defence", file, name, there)
    options = function_options(made, 1, "(classifier)")
    kind: type[FunctionDefence] = make_dataclass(
        name,
        [(key, type(default), default) for key, default in options.items()],
        bases=(FunctionDefence,),
        frozen=True,
        namespace={"__doc__": made.__doc__ or "A defence.", "function": staticmethod(made)},
    )
    kind.word, kind.__module__ = name, made.__module__
    return kind
