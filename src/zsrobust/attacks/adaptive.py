"""Attacks that go around what a test-time defence does to gradients: ``eot-K(A)``, ``bpda(A)``.

Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security" (ICML 2018,
arXiv 1802.00420): expectation over transformations (EOT) for defences that draw random numbers, and
the backward pass differentiable approximation (BPDA) for those whose gradient leads nowhere. Each
is another attack on a stand-in of the classifier under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.stand_in import OnStandIn
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

EOT_KEYS = 1_000_000
"""Where the keys of the random numbers that EOT averages over begin; no other draw has them."""


@dataclass(frozen=True)
class EOT(OnStandIn):
    """``eot-K(A)``: A on the mean logits over K draws of a defence's random numbers.

    The draws are none of those that the images are judged by. With ``draws`` = 20 and A = APGD-CE
    or APGD-DLR it is the ``rand`` version of AutoAttack (Croce and Hein, ICML 2020, arXiv
    2003.01690), which averages the gradient alone.

    Attributes:
        draws: K, 1 or more.

    Raises:
        RequestError: if it is not.
    """

    draws: int = 20

    def __post_init__(self) -> None:
        require(self.draws >= 1, "eot's draws", self.draws, "1 or more")

    @property
    def name(self) -> str:
        """``eot-20(pgd-10)``."""
        return f"eot-{self.draws}({self.attack.name})"

    @property
    def passes(self) -> int:
        """Those of the attack, for every draw; the backward pass repeats the forward pass."""
        return self.draws * (self.attack.passes + self.attack.gradients)

    @property
    def gradients(self) -> int:
        """Those of the attack, for every draw."""
        return self.draws * self.attack.gradients

    def left_out_of(self, classifier: ZeroShotClassifier) -> str:
        """A classifier that draws nothing is its own mean."""
        return "" if classifier.randomised else "draws no random numbers"

    def stand_in(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """The mean over ``draws`` copies with other random numbers."""
        from zsrobust.models.zero_shot import Blended, mean_logits

        copies = [classifier.redrawn(EOT_KEYS + draw) for draw in range(self.draws)]
        for copy in copies:
            copy.share_observer(classifier)
        return Blended(classifier, partial(mean_logits, copies))


@dataclass(frozen=True)
class BPDA(OnStandIn):
    """``bpda(A)``: A with the logits behind the defence and the gradient of the undefended model.

    As if the defence changed nothing: for those that have no gradient, or one that misleads.
    """

    @property
    def needs_gradient(self) -> bool:
        """False: the gradient is that of the undefended model."""
        return False

    @property
    def name(self) -> str:
        """``bpda(pgd-10)``."""
        return f"bpda({self.attack.name})"

    @property
    def passes(self) -> int:
        """Those of the attack, with a forward pass of either model."""
        return self.attack.passes + self.attack.passes // 2

    def left_out_of(self, classifier: ZeroShotClassifier) -> str:
        """There is nothing to go around without a defence."""
        return "has no test-time defence" if classifier.undefended is classifier else ""

    def stand_in(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """Its values are those of ``classifier``, its gradient that of the undefended one."""
        from zsrobust.models.zero_shot import Blended

        def straight_through(images: Tensor) -> Tensor:
            with torch.no_grad():
                values = classifier(images.detach())
            plain = classifier.undefended(images)
            classifier.passed(plain)
            logits: Tensor = plain + (values - plain).detach()
            return logits

        return Blended(classifier, straight_through)
