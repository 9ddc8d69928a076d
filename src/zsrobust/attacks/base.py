"""The base class of attacks, and how an attack gets its names."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.errors import Diverged, RequestError
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.noise import forked_rng, sample_key
from zsrobust.utils.own_code import blamed, described, function_options, is_own
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


CHUNK = 100
"""Samples at a time of attacks whose random numbers are drawn for all of them at once."""

_MOVED: ContextVar[dict[str, float] | None] = ContextVar("moved", default=None)


@contextmanager
def moved_outside() -> Iterator[dict[str, float]]:
    """Inside, how far functions move images that their threat model does not hold, by attack.

    What was returned is projected; the distance is the largest before that, in the norm.
    """
    found: dict[str, float] = {}
    token = _MOVED.set(found)
    try:
        yield found
    finally:
        _MOVED.reset(token)


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
    def needs_gradient(self) -> bool:
        """Whether it takes the gradient that the model under attack gives."""
        return not self.black_box

    def left_out_of(self, classifier: ZeroShotClassifier) -> str:
        """Why it says nothing new of ``classifier``, as "draws no random numbers"; or nothing."""
        del classifier
        return ""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Passes through the classifier of a sample that stands to the end.

        A forward pass and a backward pass count one each. Samples that fall may take fewer.
        """

    @property
    def gradients(self) -> int:
        """Of these passes, how many are backward."""
        return 0 if self.black_box else self.passes // 2

    @property
    def doubt(self) -> str:
        """A warning about parameters that were hardly meant, such as a step beyond the ball."""
        return ""

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file."""
        return {**asdict(self), "name": self.name, "chunk": self.chunk, **described(type(self))}

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
        sample_ids: Sequence[str] | None = None,
        epoch: int = 0,
    ) -> Tensor:
        """Adversarial images (N, 3, H, W) within the threat model.

        The classifier and the global random state are left as they were.

        Args:
            classifier: what is attacked, or with ``Transfer`` what the images are meant for.
            images: clean images (N, 3, H, W) in the threat model's pixel range, [0, 1].
            labels: true classes (N,).
            sample_ids: N different ids, which key the random numbers; by default the places in the
                batch.
            epoch: keys them as well, so that training meets new ones in each pass.

        Raises:
            RequestError: if images, labels or ids are not as described, or the classes are too few.
            Diverged: if a pixel, a logit or a gradient is NaN.
        """
        if sample_ids is None:
            sample_ids = [str(place) for place in range(len(images))]
        require_samples(self.threat, classifier, images, labels, sample_ids)
        images = images.detach()
        if len(images) == 0:
            return images
        with frozen(classifier), blamed(type(self), f"attack {self.name}"):
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

ABOUT = frozenset({"norm", "threat"})
"""Parameters by which a function asks for the norm, or the :class:`ThreatModel`, of its attack."""

OWN: dict[str, list[Registered]] = defaultdict(list)
"""Those that are named by a file of the user's own, by module."""

A = TypeVar("A", bound=Callable[..., Any])


def register_attack(pattern: str, *examples: str) -> Callable[[A], A]:
    r"""Decorator: names that match ``pattern`` mean the class or function below.

    Each named group of the pattern sets the field of that name of an :class:`Attack`, as an integer
    where it is one: ``@register_attack(r"noise-(?P<draws>\d+)", "noise-10")``.

    A function is an attack, too: ``(classifier, images, labels, eps)`` to adversarial images, with
    further parameters if they have defaults. A parameter ``norm`` is given ``linf`` or ``l2``, one
    called ``threat`` the :class:`ThreatModel`. ``pattern`` is then its plain name; if it has a
    parameter ``steps``, ``NAME-20`` sets it. Images come in [0, 1], (N, 3, H, W), up to a hundred,
    the classifier in evaluation mode without gradients of its parameters; what is returned is
    projected into the threat model. Random numbers of torch are keyed by seed and samples.

    Raises:
        RequestError: if the name is taken.
    """

    def register(found: A) -> A:
        if isinstance(found, type):
            registered = Registered(re.compile(pattern), found, examples)
        else:
            registered = _of_function(found, pattern)
        _add(registered)
        return found

    return register


def _add(new: Registered) -> None:
    def place(one: Registered) -> tuple[str, str]:
        return one.attack.__module__, one.attack.__qualname__

    for one in REGISTERED:
        same = one.pattern == new.pattern or any(map(one.pattern.fullmatch, new.examples))
        if same and place(one) != place(new):
            name = new.examples[0] if new.examples else new.pattern.pattern
            raise RequestError(f"the name {name} is taken by another attack")
    here = OWN[new.attack.__module__] if is_own(new.attack) else REGISTERED
    # The cell of a notebook may be run again.
    here[:] = [one for one in here if place(one) != place(new)]
    here.append(new)


@dataclass(frozen=True)
class FunctionAttack(Attack):
    """An attack that is a function; :func:`register_attack` makes its class.

    Attributes:
        threat: norm, radius and pixel range.
        seed: keys the random numbers that the function draws from torch.
    """

    function: ClassVar[Callable[..., Tensor]]
    registered_name: ClassVar[str]
    asks: ClassVar[frozenset[str]]
    """Which of ``ABOUT`` the function takes."""

    threat: ThreatModel = field(default_factory=ThreatModel)
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "attack.")
        steps = getattr(self, "steps", 1)
        require(steps >= 1, "attack.steps", steps, "1 or more")

    @property
    def name(self) -> str:
        """The registered name, with the number of steps if it has any."""
        steps = getattr(self, "steps", None)
        return self.registered_name if steps is None else f"{self.registered_name}-{steps}"

    @property
    def chunk(self) -> int:
        """The function may draw random numbers for all its samples at once."""
        return CHUNK

    @property
    def passes(self) -> int:
        """A forward and a backward pass a step: what most attacks take."""
        return 2 * int(getattr(self, "steps", 1))

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """What the function returns, projected into the threat model."""
        own = {part.name for part in fields(FunctionAttack)}
        options = {part.name: getattr(self, part.name) for part in fields(self)}
        options = {key: value for key, value in options.items() if key not in own}
        about = {"norm": self.threat.norm, "threat": self.threat}
        options |= {key: about[key] for key in type(self).asks}
        key = sample_key(self.seed, self.name, epoch, "\x1f".join(sample_ids), 0)
        with forked_rng(key):
            found = type(self).function(
                classifier, images, labels, float(self.threat.eps), **options
            )
        fits = isinstance(found, Tensor) and found.shape == images.shape
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        require(fits, f"what attack {self.name} returns", what, f"images {tuple(images.shape)}")
        floating = found.is_floating_point()
        require(floating, f"the type of what attack {self.name} returns", found.dtype, "a float")
        if found.isnan().any():
            raise Diverged(f"attack {self.name} returns a pixel that is NaN")
        found = found.detach().to(images.dtype)
        farthest = float(self.threat.distance(images.detach(), found).max())
        moved = _MOVED.get()
        # An attack that steps exactly to the radius rounds a little beyond it.
        if moved is not None and farthest > 1.001 * self.threat.eps + 1e-5:
            moved[self.name] = max(farthest, moved.get(self.name, 0.0))
        return self.threat.project(images, found)


def _of_function(function: Callable[..., Tensor], name: str) -> Registered:
    options = function_options(function, 4, "(classifier, images, labels, eps)", ABOUT)
    asks = ABOUT.intersection(list(inspect.signature(function).parameters)[4:])
    attack = make_dataclass(
        function.__name__,
        [(key, type(default), default) for key, default in options.items()],
        bases=(FunctionAttack,),
        frozen=True,
        namespace={
            "__doc__": function.__doc__ or "An attack.",
            "__qualname__": function.__qualname__,
            "function": staticmethod(function),
            "registered_name": name,
            "asks": asks,
        },
    )
    # make_dataclass gives the module of its caller in Python 3.10 and 3.11.
    attack.__module__ = function.__module__ or "__main__"
    number = r"(-(?P<steps>\d+))?" if "steps" in options else ""
    example = attack().name
    return Registered(re.compile(re.escape(name) + number), attack, (example,))


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
