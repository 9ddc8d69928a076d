"""The base class of attacks, and how an attack gets its names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.errors import Diverged
from zsrobust.utils.lazy import Tensor

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class Attack(ABC):
    """An attack on a zero-shot classifier within a threat model.

    A subclass is a frozen dataclass whose fields are its parameters. It has ``name`` (as in
    results, such as ``pgd-10``) and ``threat`` as fields or properties, and :meth:`perturb`. With
    :func:`register_attack` above it, in a module of this package, it can be asked for by name.

    Attributes:
        options: fields that ``make_attack`` may set besides what the name says.
    """

    options: ClassVar[frozenset[str]] = frozenset({"seed"})

    # For type checkers only: at run time a dataclass would take a property of its base for the
    # default of its own field.
    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """Its name in results, such as ``pgd-10``."""
            ...

        @property
        def threat(self) -> ThreatModel:
            """Norm, radius and pixel range."""
            ...

    @property
    def chunk(self) -> int | None:
        """None if a sample's result does not depend on the others of its batch.

        Else the size of the chunks that a call's samples must come from: sample i of the data set
        belongs to chunk i // size, and one call takes samples of one chunk, all that are to be
        attacked, in their order.
        """
        return None

    @property
    def fewest_classes(self) -> int:
        """The number of classes that its loss needs."""
        return 2

    @property
    def black_box(self) -> bool:
        """Whether it uses no gradient of the model under attack."""
        return False

    @property
    @abstractmethod
    def passes(self) -> int:
        """Passes through the classifier of a sample that stands to the end.

        A forward pass and a backward pass count one each. Samples that fall may take fewer.
        """

    @property
    def doubt(self) -> str:
        """A warning about parameters that were hardly meant, such as a step beyond the ball."""
        return ""

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file."""
        return {**asdict(self), "name": self.name, "chunk": self.chunk}

    def for_classes(self, classes: int) -> tuple[Attack | None, str]:
        """This attack for a data set of so many classes, and a note if that changes anything.

        None if the attack is not defined for so few. Target classes are capped at ``classes`` - 1.
        """
        needed = self.fewest_classes
        if classes < needed:
            return None, f"{self.name} left out: it needs {needed} classes, here {classes}"
        if self.target_classes >= classes:
            note = f"{self.name} with {classes - 1} of {self.target_classes} target classes"
            return self.with_target_classes(classes - 1), note
        return self, ""

    @property
    def target_classes(self) -> int:
        """How many other classes a targeted attack tries; 0 for an untargeted one."""
        return 0

    def with_target_classes(self, count: int) -> Attack:
        """This attack with ``count`` target classes, which the field ``targets`` holds."""
        return replace(self, **{"targets": count})

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int = 0,
    ) -> Tensor:
        """Adversarial images (N, 3, H, W) within the threat model.

        The classifier and the global random state are left as they were.

        Args:
            classifier: what is attacked, or with ``Transfer`` what the images are meant for.
            images: clean images (N, 3, H, W) in the threat model's pixel range, [0, 1].
            labels: true classes (N,).
            sample_ids: N different ids, which key the random numbers.
            epoch: keys them as well, so that training meets new ones in each pass.

        Raises:
            RequestError: if images, labels or ids are not as described, or the classes are too few.
            Diverged: if a pixel, a logit or a gradient is NaN.
        """
        require_samples(self.threat, classifier, images, labels, sample_ids)
        images = images.detach()
        if len(images) == 0:
            return images
        with frozen(classifier):
            return self.perturb(classifier, images, labels, sample_ids, epoch)

    @abstractmethod
    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """What :meth:`__call__` returns; called with checked samples, one or more.

        ``classifier`` is in evaluation mode, without gradients of its parameters.
        """


@dataclass(frozen=True)
class Registered:
    """An attack's names.

    Attributes:
        pattern: its names; each named group gives the field of that name.
        attack: its class.
        examples: some of the names, for messages, completion and tests.
    """

    pattern: re.Pattern[str]
    attack: type[Attack]
    examples: tuple[str, ...]


REGISTERED: list[Registered] = []
"""Filled by :func:`register_attack`; complete once ``zsrobust.attacks`` is imported."""

A = TypeVar("A", bound=type[Attack])


def register_attack(pattern: str, *examples: str) -> Callable[[A], A]:
    r"""Class decorator: names that match ``pattern`` mean the class.

    Each named group of the pattern sets the field of that name, as an integer where it is one:
    ``@register_attack(r"noise-(?P<draws>\d+)", "noise-10")``.
    """

    def register(attack: A) -> A:
        REGISTERED.append(Registered(re.compile(pattern), attack, examples))
        return attack

    return register


def refuse_nan(found: Tensor, what: str) -> None:
    """Stop an attack that met a NaN.

    Args:
        found: a boolean scalar, whether there is one.
        what: what it is of: ``gradient`` or ``logit``.

    Raises:
        Diverged: if ``found`` is true.
    """
    if found:
        raise Diverged(f"the attack met a {what} that is NaN: check weights and images")
