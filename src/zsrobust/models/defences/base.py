"""The contract of a test-time defence, and the model ``WORD(MODEL, KEY=VALUE)`` behind one.

A defence turns images into embeddings, or at once into logits, by way of the undefended model.
Attacks go through it, by the gradient that it lets pass (Athalye, Carlini and Wagner, ICML 2018,
arXiv 1802.00420; Croce et al., ICML 2022, arXiv 2202.13711). Its random numbers are keyed by seed
and by the pixels of each image, so that an image has one answer, whatever is in the batch with it;
each iterate of an attack meets fresh ones.

Every defence says in its docstring what it does, which gradient passes, what of it is random, and
what it costs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, ClassVar, TypeVar, get_type_hints

from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.name_forms import Form
from zsrobust.models.zero_shot import Wrapped, ZeroShotClassifier
from zsrobust.utils.noise import pixel_keys, sample_key
from zsrobust.utils.own_code import described
from zsrobust.utils.validation import require

D = TypeVar("D", bound="type[Defence]")

DEFENCES: dict[str, type[Defence]] = {}
"""By word; each registers itself when the module of that name is imported."""


class Defence(ABC):
    """A test-time defence: a frozen dataclass, whose fields are its options.

    Fields that are left out of comparisons are none: they hold what it needs of the model.
    """

    word: ClassVar[str]
    randomised: ClassVar[bool] = False
    """Whether it draws random numbers; then it is a :class:`RandomisedDefence`."""

    @property
    @abstractmethod
    def views(self) -> int:
        """Forward passes through an image encoder that one answer takes, at most."""

    @property
    def backward_views(self) -> int:
        """Backward passes through it that the answer itself takes, at most; none as a rule."""
        return 0

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Modules besides the defended model's, which move to a device with the classifier."""
        return ()

    def bound(self, model: CLIPModel, load: Callable[[str], CLIPModel]) -> Defence:
        """The defence with what it needs of ``model``, which it is to defend; as a rule itself.

        Args:
            model: the undefended model.
            load: loads others by name.

        Raises:
            RequestError: if ``model`` lacks what the defence needs.
        """
        del model, load
        return self

    def check(self, classifier: ZeroShotClassifier, model: CLIPModel) -> None:  # noqa: B027
        """Refuse a classifier of ``model`` that cannot be defended; as a rule none.

        Raises:
            RequestError: saying why.
        """

    @abstractmethod
    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Embeddings (N, dim) of ``images`` (N, 3, H, W) in [0, 1], for cosines with the classes.

        Args:
            undefended: what is defended; its ``embed`` is the image encoder.
            images: those of an attack may need a gradient.
            model: the undefended model, for its text side.
        """

    def logits(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Logits (N, C) of ``images``; those of the embeddings unless a defence says otherwise."""
        return undefended.logits(self.embed(undefended, images, model))

    def is_random(self, undefended: ZeroShotClassifier, model: CLIPModel) -> bool:
        """Whether answers behind ``undefended``, a classifier of ``model``, are random."""
        del undefended, model
        return self.randomised

    def redrawn(self, key: int) -> Defence:
        """The same defence with random numbers that are independent of its own, others for each
        ``key``; itself where it draws none.
        """
        del key
        return self

    @classmethod
    def option_readers(cls) -> dict[str, Callable[[str], Any]]:
        """What reads each option from text, by key; those shared with other defences last."""
        hints = get_type_hints(cls)
        own = sorted(fields(cls), key=lambda field: field.kw_only is True)  # type: ignore[arg-type]
        return {field.name: hints[field.name] for field in own if field.compare}

    @property
    def options(self) -> dict[str, Any]:
        """By key, in the order of :meth:`option_readers`."""
        return {key: getattr(self, key) for key in self.option_readers()}

    @property
    def settings(self) -> dict[str, object]:
        """Word, options and cost, for results."""
        cost = {"forward_passes": self.views}
        if self.backward_views:
            cost["backward_passes"] = self.backward_views
        return {"name": self.word, **self.options, **cost, **described(type(self))}

    @property
    def changed(self) -> str:
        """Options that are not the usual ones, such as ``, draws=4``."""
        usual = type(self)().options
        return "".join(f", {k}={v}" for k, v in self.options.items() if v != usual[k])


@dataclass(frozen=True, kw_only=True)
class RandomisedDefence(Defence):
    """A defence that draws.

    An answer is that of the image's own draw. The attack ``eot-K(A)`` averages over other draws.

    Attributes:
        seed: of the random numbers, with the image's pixels.

    Raises:
        RequestError: if it is below 0.
    """

    randomised: ClassVar[bool] = True

    seed: int = 0

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"{self.word} seed", self.seed, "0 or more")

    def keys(self, images: Tensor, number: int) -> Tensor:
        """Keys (N,) of random numbers for ``images`` (N, 3, H, W), others for each ``number``."""
        return pixel_keys(images, seed=self.seed, purpose=self.word, restart=number)

    def redrawn(self, key: int) -> RandomisedDefence:
        """The same defence with another seed, which depends on its own and on ``key``."""
        return replace(self, seed=sample_key(self.seed, "redrawn", 0, "", key) % 2**32)


def entropy(logits: Tensor) -> Tensor:
    """Of the softmax of ``logits`` (..., C), (...)."""
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


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
        defence: how, bound to ``model``.
        model: what ``classifier`` is of.
    """

    def __init__(self, classifier: ZeroShotClassifier, defence: Defence, model: CLIPModel) -> None:
        super().__init__(classifier)
        self._undefended, self.defence, self.model = classifier, defence, model
        self.further_modules = nn.ModuleList(defence.modules)

    def further_settings(self) -> dict[str, object]:
        """The defence with all its options."""
        return {"defence": self.defence.settings}

    @property
    def undefended(self) -> ZeroShotClassifier:
        """What is defended."""
        return self._undefended

    @property
    def randomised(self) -> bool:
        """Whether the defence draws random numbers."""
        return self.defence.is_random(self._undefended, self.model)

    @property
    def encoder_passes(self) -> int:
        """Those of the defence."""
        return self.defence.views + self.defence.backward_views

    def redrawn(self, key: int) -> DefendedClassifier:
        """The same behind :meth:`Defence.redrawn`; it shares all modules."""
        again = DefendedClassifier(self.undefended, self.defence.redrawn(key), self.model)
        again.training = self.training
        return again

    def embed(self, images: Tensor) -> Tensor:
        """What the defence makes of ``images`` (N, 3, H, W) in [0, 1], (N, dim)."""
        return self.defence.embed(self.undefended, images, self.model)

    def forward(self, images: Tensor, logit_scale: float | None = None) -> Tensor:
        """The defence's logits (N, C) in fp32 of images in [0, 1], shape (N, 3, H, W)."""
        logits = self.defence.logits(self.undefended, images, self.model)
        self.passed(logits)
        return logits if logit_scale is None else logits * (logit_scale / self.logit_scale)


@dataclass(frozen=True)
class Defended:
    """The defence of one model.

    Attributes:
        undefended: the model.
        defence: what is done to its images, prompts or embeddings.
    """

    undefended: CLIPModel
    defence: Defence

    def around(self, classifier: ZeroShotClassifier) -> DefendedClassifier:
        """``classifier`` behind the defence; it shares the image encoder.

        Raises:
            RequestError: if it cannot be defended.
        """
        self.defence.check(classifier, self.undefended)
        return DefendedClassifier(classifier, self.defence, self.undefended)


def load_defended(form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``WORD(MODEL, KEY=VALUE)``, its parameters frozen.

    Args:
        form: the name.
        load: loads MODEL by name, and what the defence needs besides.

    Raises:
        RequestError: if an option is unknown or out of range, MODEL is defended already, or it
            lacks what the defence needs.
    """
    import_module(f"{__package__}.{form.word}")
    return defended(DEFENCES[form.word], form, load)


def defended(kind: type[Defence], form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model that ``form`` names, behind a defence of this ``kind``; as above."""
    defence = kind(**form.read_options(kind.option_readers()))
    undefended = replace(load(form.model), name=form.model)
    undefended.require_undefended("another defence")
    undefended.encoder.requires_grad_(False)
    return replace(
        undefended,
        name=form.name,
        method=f"{kind.word}({undefended.method}{defence.changed})",
        defence=Defended(undefended, defence.bound(undefended, load)),
    )
