"""The attacks ``apgd-ce-early`` and ``apgd-t-early``: Auto-PGD, stopped at the first success.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks" (ICML 2020, arXiv 2003.01690), Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.base import Attack, refuse_nan, register_attack
from zsrobust.attacks.losses import cross_entropy, dlr_towards, likeliest_others, margin
from zsrobust.attacks.pgd import input_gradient
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

EARLY = {"apgd-ce-early": False, "apgd-t-early": True}
"""By name, whether it is targeted."""

MOMENTUM = 0.75
RISES = 0.75
"""rho: the share of steps that must have raised the loss for the step size to stay."""
FIRST_PERIOD, SHORTER, SHORTEST = 0.22, 0.03, 0.06
"""Shares of the steps: the first period between checkpoints, how much shorter each next one is, and
the shortest."""


@dataclass(frozen=True)
class _State:
    """Samples that are still classified correctly, M of them: the first size of every tensor.

    Attributes:
        row: place among all samples.
        image, label, aim: what is attacked, and what its loss is about.
        at, before: this iterate and the last.
        loss, gradient: at this iterate.
        best, best_loss, best_gradient: of the highest loss so far.
        step: length of a step, (M, 1, 1, 1).
        rises: steps since the last checkpoint that raised the loss.
        loss_at_checkpoint: the highest loss at the last checkpoint.
        halved: whether the last checkpoint halved the step.
    """

    row: Tensor
    image: Tensor
    label: Tensor
    aim: Tensor
    at: Tensor
    before: Tensor
    loss: Tensor
    gradient: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    step: Tensor
    rises: Tensor
    loss_at_checkpoint: Tensor
    halved: Tensor

    def only(self, rows: Tensor) -> _State:
        return _State(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size may be halved."""
    period, found = max(int(FIRST_PERIOD * steps), 1), [0]
    while found[-1] + period <= steps:
        found.append(found[-1] + period)
        period = max(period - max(int(SHORTER * steps), 1), int(SHORTEST * steps), 1)
    return found[1:]


def apgd_until_wrong(
    logits_fn: Callable[[Tensor], Tensor],
    loss_of_logits: Callable[[Tensor, Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    aims: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    noise: Tensor,
) -> Tensor:
    """Each sample's first misclassified iterate, else the one of highest loss: (N, 3, H, W).

    Args:
        logits_fn: images (M, 3, H, W) to logits (M, C), for any M.
        loss_of_logits: logits (M, C), labels (M,) and aims (M,) to one loss a sample (M,).
        images: the clean images.
        labels: true classes (N,), which give the verdicts.
        aims: classes (N,) that the loss is about.
        threat: where the result must lie.
        steps: number of gradient steps.
        noise: uniform in [-1, 1), the random start.

    Raises:
        Diverged: if a gradient is NaN.
    """
    images = images.detach()
    found = threat.start(images, noise).clone()
    if len(images) == 0:
        return found

    def evaluate(at: Tensor, label: Tensor, aim: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Verdicts, losses and gradients of iterates, from one pass forward and back."""
        seen: list[Tensor] = []

        def loss_fn(x: Tensor) -> Tensor:
            logits = logits_fn(x)
            losses = loss_of_logits(logits, label, aim)
            seen.extend((logits.detach().argmax(-1) == label, losses.detach()))
            return losses

        gradient = input_gradient(loss_fn, at)
        refuse_nan(gradient.isnan().any(), "gradient")
        return seen[0], seen[1], gradient

    right, loss, gradient = evaluate(found, labels, aims)
    state = _State(
        row=torch.arange(len(images), device=images.device),
        image=images,
        label=labels,
        aim=aims,
        at=found.clone(),
        before=found.clone(),
        loss=loss,
        gradient=gradient,
        best=found.clone(),
        best_loss=loss,
        best_gradient=gradient,
        step=torch.full((len(images), 1, 1, 1), 2 * threat.eps, device=images.device),
        rises=torch.zeros_like(loss),
        loss_at_checkpoint=loss,
        # As if halved before: the first checkpoint has no earlier one to compare with.
        halved=torch.ones_like(right),
    ).only(right)
    period_began, ends = 0, checkpoints(steps)
    for index in range(steps):
        if len(state.row) == 0:
            break
        state = _stepped(state, threat, first=index == 0)
        right, loss, gradient = evaluate(state.at, state.label, state.aim)
        state = _noted(state, loss, gradient)
        found[state.row] = torch.where(right[:, None, None, None], state.best, state.at)
        state = state.only(right)
        if index + 1 in ends:
            state = _halved(state, index + 1 - period_began)
            period_began = index + 1
    return found


def _stepped(state: _State, threat: ThreatModel, *, first: bool) -> _State:
    """One step of ascent, most of the way, and some of the last step once more."""
    new = threat.step(state.image, state.at, state.gradient, state.step)
    if not first:
        onward = MOMENTUM * (new - state.at) + (1 - MOMENTUM) * (state.at - state.before)
        new = threat.project(state.image, state.at + onward)
    return replace(state, at=new, before=state.at)


def _noted(state: _State, loss: Tensor, gradient: Tensor) -> _State:
    """This iterate's loss and gradient, and whether they are the best so far."""
    better = loss > state.best_loss
    pixels = better[:, None, None, None]
    return replace(
        state,
        loss=loss,
        gradient=gradient,
        rises=state.rises + (loss > state.loss),
        best=torch.where(pixels, state.at, state.best),
        best_loss=torch.where(better, loss, state.best_loss),
        best_gradient=torch.where(pixels, gradient, state.best_gradient),
    )


def _halved(state: _State, period: int) -> _State:
    """Half the step, from the best iterate, where the loss seldom rose or the best is the old."""
    seldom = state.rises < RISES * period
    stuck = ~state.halved & (state.best_loss <= state.loss_at_checkpoint)
    halve = seldom | stuck
    pixels = halve[:, None, None, None]
    return replace(
        state,
        step=torch.where(pixels, state.step / 2, state.step),
        at=torch.where(pixels, state.best, state.at),
        gradient=torch.where(pixels, state.best_gradient, state.gradient),
        loss=torch.where(halve, state.best_loss, state.loss),
        rises=torch.zeros_like(state.rises),
        loss_at_checkpoint=state.best_loss,
        halved=halve,
    )


@register_attack(r"(?P<name>apgd-(ce|t)-early)", *EARLY)
@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD (Croce and Hein, ICML 2020) that stops a sample at its first misclassification.

    Other samples are attacked as by ``apgd-ce`` and ``apgd-t``, with 100 steps a start. Random
    starts are keyed by the sample, so that results do not depend on the batch.

    Attributes:
        name: a key of ``EARLY``.
        threat: norm, radius and pixel range.
        steps: gradient steps a start, 1 or more.
        targets: how many other classes ``apgd-t-early`` tries, the likeliest first.
        seed: keys the random starts.

    Raises:
        RequestError: if the name is unknown, or steps or targets are below 1.
    """

    name: str
    threat: ThreatModel
    steps: int = 100
    targets: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.name in EARLY, "attack", repr(self.name), " or ".join(EARLY))
        check_types(self, "attack.")
        for key in ("steps", "targets"):
            require(getattr(self, key) >= 1, f"attack.{key}", getattr(self, key), "1 or more")

    @property
    def targeted(self) -> bool:
        """Whether it goes for one other class after the other."""
        return EARLY[self.name]

    @property
    def fewest_classes(self) -> int:
        """4 where it is targeted, else 2."""
        return 4 if self.targeted else 2

    @property
    def target_classes(self) -> int:
        """``targets`` where it is targeted, else 0."""
        return self.targets if self.targeted else 0

    @property
    def passes(self) -> int:
        """For each start two at the start, two a step, and one for the verdict on its result."""
        return int(self.targeted) + 2 * self.gradients + self._starts

    @property
    def gradients(self) -> int:
        """For each start one at the start, and one a step."""
        return self._starts * (self.steps + 1)

    @property
    def _starts(self) -> int:
        return self.targets if self.targeted else 1

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file."""
        return {
            **asdict(self),
            "targets": self.targets if self.targeted else None,
            "loss": "dlr-targeted" if self.targeted else "ce",
            "returns": "first misclassified iterate, else that of highest loss",
        }

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """Each sample's first misclassified iterate, else the one of highest margin."""
        with torch.no_grad():
            aims = [labels]
            if self.targeted:
                aims = likeliest_others(classifier(images), labels, self.targets)

            def start(rows: Tensor, number: int) -> Tensor:
                ids = [sample_ids[row] for row in rows.tolist()]
                at = images[rows]
                return apgd_until_wrong(
                    classifier,
                    self._loss,
                    at,
                    labels[rows],
                    aims[number][rows],
                    self.threat,
                    steps=self.steps,
                    noise=uniform_noise(
                        at,
                        ids,
                        seed=self.seed,
                        purpose=self.name,
                        epoch=epoch,
                        restart=number,
                    ),
                )

            tries = [partial(start, number=number) for number in range(len(aims))]
            return worst_of(tries, classifier, margin, images, labels)

    def _loss(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        if self.targeted:
            return dlr_towards(logits, labels, aims)
        return cross_entropy(logits, labels)
