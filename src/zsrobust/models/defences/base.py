"""The contract of a test-time defence, and the model ``WORD(MODEL, KEY=VALUE)`` behind one.

A defence turns images into embeddings by way of the undefended model. Attacks go through it, by
the gradient that it lets pass (Athalye, Carlini and Wagner, ICML 2018, arXiv 1802.00420; Croce et
al., ICML 2022, arXiv 2202.13711). Its random numbers are keyed by seed and by the pixels of each
image, so that an image has one answer, whatever is in the batch with it; each iterate of an attack
meets fresh ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from typing import Any, ClassVar, TypeVar, get_type_hints

from torch import Tensor

from zsrobust.models.clip import CLIPModel
from zsrobust.models.name_forms import Form
from zsrobust.models.zero_shot import Wrapped, ZeroShotClassifier

D = TypeVar("D", bound="type[Defence]")

DEFENCES: dict[str, type[Defence]] = {}
"""By word; each registers itself when the module of that name is imported."""


class Defence(ABC):
    """A test-time defence: a frozen dataclass, whose fields are its options."""

    word: ClassVar[str]

    @property
    @abstractmethod
    def views(self) -> int:
        """Forward passes through the image encoder for one image."""

    @abstractmethod
    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Embeddings (N, dim) of ``images`` (N, 3, H, W) in [0, 1], for cosines with the classes.

        Args:
            undefended: what is defended; its ``embed`` is the image encoder.
            images: those of an attack may need a gradient.
            model: the undefended model, for its text side.
        """

    @property
    def changed(self) -> str:
        """Options that are not the usual ones, such as ``, draws=4``."""
        usual = type(self)()
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return "".join(f", {k}={v}" for k, v in values.items() if v != getattr(usual, k))


def register_defence(word: str) -> Callable[[D], D]:
    """A decorator of a frozen dataclass: ``--model "WORD(MODEL)"`` finds it."""

    def register(defence: D) -> D:
        defence.word = word
        DEFENCES[word] = defence
        return defence

    return register


class DefendedClassifier(Wrapped):
    """A zero-shot classifier behind a defence.

    Args:
        classifier: what is defended; its modules are shared.
        defence: how.
        model: what ``classifier`` is of.
    """

    def __init__(self, classifier: ZeroShotClassifier, defence: Defence, model: CLIPModel) -> None:
        super().__init__(classifier)
        self.undefended, self.defence, self.model = classifier, defence, model

    def further_settings(self) -> dict[str, object]:
        """The defence with all its options."""
        about: Any = self.defence
        return {"defence": {"name": about.word, **asdict(about), "forward_passes": about.views}}

    def embed(self, images: Tensor) -> Tensor:
        """What the defence makes of ``images`` (N, 3, H, W) in [0, 1], (N, dim)."""
        return self.defence.embed(self.undefended, images, self.model)


@dataclass(frozen=True)
class Defended:
    """The defence of one model.

    Attributes:
        undefended: the model.
        defence: what is done to its images or embeddings.
    """

    undefended: CLIPModel
    defence: Defence

    def around(self, classifier: ZeroShotClassifier) -> DefendedClassifier:
        """``classifier`` behind the defence; it shares the image encoder."""
        return DefendedClassifier(classifier, self.defence, self.undefended)


def load_defended(form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``WORD(MODEL, KEY=VALUE)``, its parameters frozen.

    Args:
        form: the name.
        load: loads MODEL by name.

    Raises:
        RequestError: if an option is unknown or out of range, or MODEL is defended already.
    """
    import_module(f"{__package__}.{form.word}")
    kind = DEFENCES[form.word]
    readers = {key: hint for key, hint in get_type_hints(kind).items() if key != "word"}
    defence = kind(**form.read_options(readers))
    undefended = replace(load(form.model), name=form.model)
    undefended.require_undefended("another defence")
    undefended.encoder.requires_grad_(False)
    return replace(
        undefended,
        name=form.name,
        method=f"{form.word}({undefended.method}{defence.changed})",
        defence=Defended(undefended, defence),
    )
