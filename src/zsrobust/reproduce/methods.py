"""The systems that are compared, and the ablations of the one that the question is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zsrobust.config.schema import FinetuneConfig
from zsrobust.models.adapters.options import Adapter
from zsrobust.objectives import Term, objective_class
from zsrobust.sweep.cost import passes_per_step, steps_for
from zsrobust.utils.units import Eps


@dataclass(frozen=True)
class Method:
    """A system of the comparison.

    Attributes:
        name: of its runs.
        title: in tables.
        objective: the word of ``--method``.
        options: of the objective.
        changes: what else of a fine-tuning is its own, such as the adapter.
        optimizer: likewise, of the optimizer.
        attack: likewise, of the training attack; the run then has as many steps as cost what it
            would cost with the usual one.
        start: where the search for its learning rate begins; None for where the world's does.
    """

    name: str
    title: str
    objective: str
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    attack: Mapping[str, Any] = field(default_factory=dict)
    start: float | None = None

    def of(self, base: FinetuneConfig, lr: float) -> FinetuneConfig:
        """This method with everything else as in ``base``."""
        usual = replace(
            base,
            method=self.objective,
            objective=objective_class(self.objective)(**self.options),
            optimizer=replace(base.optimizer, lr=lr, **self.optimizer),
            **self.changes,
        )
        if not self.attack:
            return usual
        changed = replace(usual, attack=replace(usual.attack, **self.attack))
        steps = steps_for((usual.steps or 0) * passes_per_step(usual), changed)
        return replace(changed, steps=steps, evaluate_every=steps)


FT_CLEAN = Method("ft_clean", "FT-Clean", "ft_clean")
FT_STANDARD = Method(
    "ft_standard", "our FT-Standard", "pmg_aft", {"preset": "paper", "images": "clean"}
)
TECOA = Method("tecoa", "TeCoA", "tecoa")
PAPER = Method("pmg_aft-paper", "PMG-AFT (paper)", "pmg_aft", {"preset": "paper"})
PRESETS = (
    PAPER,
    *(
        Method(f"pmg_aft-{preset}", f"PMG-AFT ({preset})", "pmg_aft", {"preset": preset})
        for preset in ("authors_code", "authors_first_revision", "ttc")
    ),
)
METHODS = (FT_CLEAN, FT_STANDARD, TECOA, *PRESETS)
"""What the replication compares."""
# At a logit scale of 1 the glyph world's best rates are ten to thirty times those of the others.
METHODS_FROM_GLYPHS = tuple(
    replace(method, start=1e-2)
    if method.options.get("preset", "").startswith("authors")
    else method
    for method in METHODS
)
"""The same, with the search begun where the glyph world suggests."""
# A squared distance of raw embeddings: their norms are in the hundreds, its gradients 1e5.
FARE = Method("fare", "FARE", "fare", start=1e-6)

FIELD = (
    *METHODS,
    Method("ft_adv", "FT-Adv", "ft_adv"),
    Method("ft_adv-contrast", "FT-Adv (contrastive)", "sum", {"terms": [Term("contrast_adv")]}),
    FARE,
    Method("agft", "AGFT", "agft"),
    Method("trades", "TRADES", "trades"),
    *(
        Method(f"sim_clip-{preset}", f"Sim-CLIP ({preset})", "sim_clip", {"preset": preset})
        for preset in ("paper", "authors_code")
    ),
)
"""Every method that asks for no patch tokens, which glyph-clip has not."""


def _adapted(name: str, title: str, start: float | None = None, **changes: Any) -> Method:
    return replace(PAPER, name=f"{PAPER.name}-{name}", title=title, changes=changes, start=start)


ADAPTED = (
    _adapted("blocks", "last block", adapter=Adapter(kind="blocks", blocks=1)),
    _adapted("lora", "LoRA, rank 8", adapter=Adapter(kind="lora", rank=8), start=1e-2),
    _adapted(
        "frame",
        "visual prompt, 8 pixels",
        adapter=Adapter(kind="prompt_padding", width=8),
        start=1e-2,
    ),
    _adapted("ema", "EMA, decay 0.99", ema=0.99),
)
"""PMG-AFT with every adapter that glyph-clip has a place for: no LayerNorms, no tokens."""


def ablations(base: FinetuneConfig, lr: float) -> dict[str, FinetuneConfig]:
    """PMG-AFT (paper) with one thing changed, by what is changed.

    The weights of its two guiding terms; where the general term acts; radius and steps of the
    training attack, each step as long as the radius. alpha = beta = 0 is TeCoA.
    """
    runs = {
        f"{weight}={value:g}": replace(PAPER, options={**PAPER.options, weight: value}).of(base, lr)
        for weight in ("alpha", "beta")
        for value in (0.0, 0.5, 2.0, 4.0)
    }
    runs |= {
        f"general={place}": replace(PAPER, options={**PAPER.options, "general": place}).of(base, lr)
        for place in ("l2", "cosine")
    }
    usual, attack = PAPER.of(base, lr), base.attack
    for factor in (0.5, 1.5, 2.0):
        eps = Eps(factor * attack.eps)
        runs[f"eps={str(eps).replace('/', '_')}"] = replace(
            usual, attack=replace(attack, eps=eps, step_size=eps)
        )
    for steps in (1, 4):
        runs[f"attack-steps={steps}"] = replace(usual, attack=replace(attack, steps=steps))
    return runs
