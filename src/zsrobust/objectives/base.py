"""The contract of a fine-tuning objective: what it reads, the images it trains on, its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd import PGD, pgd
from zsrobust.attacks.samples import require_samples
from zsrobust.data.batch import Batch
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import TYPE_CHECKING, Tensor, nn, torch
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.own_code import function_options, is_own, load_own, no_such_name, split_own
from zsrobust.utils.validation import check_types, require, unknown

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

View: TypeAlias = Literal["adversarial", "clean"]
"""``clean`` is the image x as loaded; ``adversarial`` is x', what the objective made of it."""

Reduction: TypeAlias = Literal["mean", "sum"]
LogitScale: TypeAlias = float | Literal["model"]


@dataclass(frozen=True)
class Needs:
    """Which images each encoder must see for the loss; nothing else is computed.

    Attributes:
        student: views for the model in training.
        teacher: views for the frozen original; its clean embeddings are there for the attack too.
        tokens: patch tokens of every view, with its embedding; only ViTs of open_clip have them.
        apart: the student sees each view in a batch of its own, so that equal encoders give equal
            embeddings bit for bit: a Euclidean distance has a gradient of full length even where
            all of it is rounding. Always so with ``tokens``.
        text: the text tower is trained too, and is the step's ``head``, a
            :class:`~zsrobust.models.trained_text.TrainedText`.
        proxy: name of a further frozen model, which sees x'; none if empty.
        attack: what adversarial images move away from: ``labels``, true or soft; or what the
            ``student`` or the ``teacher`` makes of the clean image. None trains on clean images.
    """

    student: frozenset[View] = frozenset({"adversarial"})
    teacher: frozenset[View] = frozenset()
    tokens: bool = False
    apart: bool = False
    text: bool = False
    proxy: str = ""
    attack: Literal["labels", "student", "teacher"] | None = "labels"

    @property
    def random_start(self) -> bool:
        """Whether the attack starts at random: at the image itself, a distance has no gradient."""
        return self.attack in ("student", "teacher")

    @property
    def clean_first(self) -> bool:
        """Whether the attack begins with a forward pass of the student on the clean images."""
        return self.attack == "student"


@dataclass(frozen=True)
class HeadUpdates:
    """How the parameters of :meth:`Objective.head` are trained; by default as the encoder's are.

    Attributes:
        lr: peak learning rate, on the encoder's schedule; None for the encoder's.
        every: in one of how many steps they move: in the last of each such group.
        ascend: they climb on the loss that the encoder descends on, as Lagrange multipliers do.
    """

    lr: float | None = None
    every: int = 1
    ascend: bool = False

    @property
    def apart(self) -> bool:
        """Whether an optimizer must hold them apart from the encoder's."""
        return self.lr is not None or self.ascend


class Views(dict[View, Tensor]):
    """What ``side``, ``student`` or ``teacher``, makes of each view; asks for what is missing."""

    def __init__(self, side: str, known: Mapping[View, Tensor]) -> None:
        super().__init__(known)
        self.side = side

    def __missing__(self, view: View) -> Tensor:
        raise RequestError(
            f"step.{self.side}[{view!r}] is not there: the objective must ask for it, with "
            f"needs=Needs({self.side}=frozenset({{{view!r}}}))"
        )


@dataclass(frozen=True)
class StepContext:
    """All that an objective is given in a training step.

    Attributes:
        classifier: the model in training as a zero-shot classifier, which the attack sees.
        batch: clean images (N, 3, H, W) in [0, 1], labels (N,), and the ids that key their noise.
        attack: threat model, steps and random start of the attack; its own loss is not used.
        epoch: gives each pass over the data new random starts.
        global_batch: samples of the step, over all processes and accumulation steps.
        texts: unit class vectors (C, dim) for each list of :meth:`Objective.prompts`.
        head: what :meth:`Objective.head` made, trained together with the encoder.
        student, teacher: raw embeddings (N, dim), not normalised, by view, as ``Needs`` asks for
            them. During the attack there are only clean ones: the teacher's, and the student's own
            without a gradient where images move away from them.
        proxy: logits (N, C) of the proxy on x', where there is one.
        student_tokens, teacher_tokens: patch tokens (N, patches, dim) by view, where needed.
    """

    classifier: ZeroShotClassifier
    batch: Batch
    attack: PGD
    epoch: int = 0
    global_batch: int = 1
    texts: tuple[Tensor, ...] = ()
    head: nn.Module | None = None
    proxy: Tensor | None = None
    student: dict[View, Tensor] = field(default_factory=dict)
    teacher: dict[View, Tensor] = field(default_factory=dict)
    student_tokens: dict[View, Tensor] = field(default_factory=dict)
    teacher_tokens: dict[View, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("student", "teacher"):
            object.__setattr__(self, side, Views(side, getattr(self, side)))

    @property
    def labels(self) -> Tensor:
        """True classes (N,)."""
        return self.batch.labels

    def reduce(self, per_sample: Tensor, reduction: Reduction) -> Tensor:
        """These samples' (N,) share of the sum or the mean over the global batch, in fp32.

        Shares add up over processes and accumulation steps.
        """
        total = per_sample.float().sum()
        return total / self.global_batch if reduction == "mean" else total

    def mean(self, per_sample: Tensor) -> Tensor:
        """These samples' (N,) share of the mean over the global batch, in fp32."""
        return self.reduce(per_sample, "mean")


@dataclass(frozen=True)
class Objective(ABC):
    """A fine-tuning objective. Its fields are its options in a recipe.

    A new one is a :meth:`loss`. Where it reads more than the student on adversarial images it says
    so in :attr:`needs`; where its attack maximises anything but the cross-entropy with the labels,
    in :meth:`attack_loss`. Every option has a default, and results name those that depart from it.
    Weights ``alpha`` and ``beta`` and a ``logit_scale`` are checked here.

    Raises:
        RequestError: if an option has a wrong type, a weight ``alpha`` or ``beta`` is negative or
            infinite, or ``logit_scale`` is not above 0.
    """

    name: ClassVar[str]
    """As in ``--method``."""
    title: ClassVar[str]
    """As papers write it."""
    arxiv: ClassVar[str | None]
    """The number of its paper."""

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        for key in ("alpha", "beta"):
            weight = getattr(self, key, 0)
            require(0 <= weight < float("inf"), f"objective.{key}", weight, "0 or more")
        scale = getattr(self, "logit_scale", None)
        require(
            not isinstance(scale, int | float) or scale > 0,
            "objective.logit_scale",
            scale,
            "above 0, or 'model' for the model's own",
        )

    @property
    def label(self) -> str:
        """Its name in results: ``name``, or ``name[preset, alpha=0.0]``.

        In brackets are the preset, if it has any, and all options that depart from it.
        """
        preset = {"preset": self.preset} if hasattr(self, "preset") else {}
        usual = type(self)(**preset)
        parts = [
            *preset.values(),
            *(
                f"{part.name}={getattr(self, part.name)}"
                for part in fields(self)
                if getattr(self, part.name) != getattr(usual, part.name)
            ),
        ]
        return f"{self.name}[{', '.join(parts)}]" if parts else self.name

    @property
    def needs(self) -> Needs:
        """What :meth:`loss` and :meth:`attack_loss` read."""
        return Needs()

    @property
    def scale(self) -> float | None:
        """What multiplies cosines in the loss and in the attack; None for the model's own."""
        scale = getattr(self, "logit_scale", None)
        return None if scale in ("model", None) else float(scale)

    def prompts(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Further descriptions of the classes, each a list with one text a class; mostly none.

        Raises:
            RequestError: if they are to come from a file that does not have them.
        """
        return ()

    @property
    def head_updates(self) -> HeadUpdates:
        """How :meth:`head` is trained: at what rate, how often, and in which direction."""
        return HeadUpdates()

    def head(self, dim: int, classes: int, seed: int) -> nn.Module | None:
        """A module to train with the encoder, from embeddings (N, dim); mostly none.

        It is saved in checkpoints and is no part of the fine-tuned model.
        """
        return None

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """What the attack maximises, one value a sample (N,): cross-entropy with the labels.

        ``embeddings`` (N, dim) are the student's raw embeddings of the images under attack.
        """
        return cross_entropy(self.logits(embeddings, step), step.labels)

    @abstractmethod
    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total`` and its named parts, scalars in fp32, each by :meth:`StepContext.reduce`."""

    def adversarial(self, step: StepContext) -> Tensor:
        """The images x' to train on, (N, 3, H, W) in [0, 1]: by PGD on :meth:`attack_loss`.

        Without an attack they are the clean images themselves. The random starts are those that
        the attack itself would take, and the model is left as it was found.

        Raises:
            RequestError: if images, labels or ids of the batch are not as :class:`Batch` says.
            RunError: if a pixel or a gradient is NaN.
        """
        attack, batch, classifier = step.attack, step.batch, step.classifier
        if self.needs.attack is None:
            return batch.images
        require_samples(attack.threat, classifier, batch.images, batch.labels, batch.sample_ids)
        noise = None
        if attack.random_start:
            noise = uniform_noise(
                batch.images, batch.sample_ids, seed=attack.seed, purpose="pgd", epoch=step.epoch
            )
        with frozen(classifier):
            if self.needs.clean_first:
                with torch.no_grad():
                    step = replace(step, student={"clean": classifier.embed(batch.images)})
            return pgd(
                lambda images: self.attack_loss(classifier.embed(images), step),
                batch.images,
                attack.threat,
                steps=attack.steps,
                step_size=attack.resolved_step_size,
                noise=noise,
            )

    def logits(
        self, embeddings: Tensor, step: StepContext, class_vectors: Tensor | None = None
    ) -> Tensor:
        """Logits (N, C) in fp32 of raw embeddings (N, dim) at the objective's logit scale.

        ``class_vectors`` (C, dim) replace those of the classifier.
        """
        from zsrobust.models.zero_shot import cosine_logits

        if class_vectors is None:
            return step.classifier.logits(embeddings, self.scale)
        scale = step.classifier.logit_scale if self.scale is None else self.scale
        return scale * cosine_logits(embeddings, class_vectors)


OBJECTIVES: dict[str, type[Objective]] = {}
"""Every method by its name in recipes."""

OWN: dict[str, dict[str, type[Objective]]] = defaultdict(dict)
"""Those that are named by a file of the user's own, by module and name."""

Kind = TypeVar("Kind", bound=Callable[..., Any])


def register_objective(
    name: str, title: str | None = None, arxiv: str | None = None, needs: Needs | None = None
) -> Callable[[Kind], Kind]:
    """Decorator: ``--method`` calls the :class:`Objective` or function below ``name``.

    A function is an objective, too: from a :class:`StepContext` to the loss, one value a sample
    (N,) or the mean over these samples. Further parameters with defaults are its options. It trains
    on adversarial images from PGD on the cross-entropy with the labels.

    Args:
        name: in recipes and results.
        title: in figures and tables; ``name`` by default.
        arxiv: the number of its paper.
        needs: what a function reads; the student on adversarial images by default.

    Raises:
        RequestError: if the name is taken.
    """

    def add(found: Kind) -> Kind:
        is_class = isinstance(found, type)
        kind: Any = found if is_class else _of_function(found, needs or Needs())
        kind.name, kind.title, kind.arxiv = name, title or name, arxiv
        here = OWN[kind.__module__] if is_own(kind) else OBJECTIVES
        for known in {**OBJECTIVES, **here}.values():
            if known.name == name and known.__module__ != kind.__module__:
                raise RequestError(f"the name {name} is taken by another method")
        here[name] = kind
        return found

    return add


@dataclass(frozen=True)
class FunctionObjective(Objective):
    """An objective that is a function; :func:`register_objective` makes its class."""

    function: ClassVar[Callable[..., Tensor]]
    wanted: ClassVar[Needs]

    @property
    def needs(self) -> Needs:
        """What was registered."""
        return self.wanted

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """What the function returns, as a share of the mean over the global batch."""
        options = {part.name: getattr(self, part.name) for part in fields(self)}
        found = type(self).function(step, **options)
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        n = len(step.labels)
        fits = isinstance(found, Tensor) and found.shape in ((), (n,))
        require(fits, f"what method {self.name} returns", shape, f"a scalar, or {n} values")
        return {"total": step.mean(found if found.ndim else found.expand(n))}


def _of_function(function: Callable[..., Tensor], needs: Needs) -> type[FunctionObjective]:
    options = function_options(function, 1, "(step)")
    kind = make_dataclass(
        function.__name__,
        [(key, type(default), default) for key, default in options.items()],
        bases=(FunctionObjective,),
        frozen=True,
        namespace={
            "__doc__": function.__doc__ or "A loss.",
            "__qualname__": function.__qualname__,
            "function": staticmethod(function),
            "wanted": needs,
        },
    )
    kind.__module__ = function.__module__ or "__main__"
    return kind


def objective_class(method: str) -> type[Objective]:
    """The objective called ``method``, which may be ``FILE.py:NAME``.

    Raises:
        RequestError: if there is none.
    """
    if own := split_own(method):
        file, name = own
        there = OWN[load_own(file).__name__]
        if name not in there:
            raise no_such_name("method", file, name, there)
        return there[name]
    if method not in OBJECTIVES:
        raise RequestError(unknown("method", method, sorted(OBJECTIVES)))
    return OBJECTIVES[method]
