"""The black-box probe of every evaluation: is an attack without gradients stronger?

An attack that follows a misleading gradient fails, and the model looks robust (Athalye, Carlini and
Wagner, "Obfuscated gradients give a false sense of security", ICML 2018). So a few samples are
attacked without it as well: by images that were made on the model's original, and by random search.
What counts is which attack took more of the true class's lead, on the same samples: that tells a
useless gradient long before so weak an attack fells anything.

The model that answers is a copy that has not been queried, so that nothing it learned from the
evaluation's own attacks protects it. Its answers are compared with the counted ones, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import margin
from zsrobust.data.batch import Batch
from zsrobust.data.split import keyed_order
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.checks.probe import SURE, Probe, random_search, significantly_more, spread
from zsrobust.evaluation.checks.row_groups import passed
from zsrobust.evaluation.checks.snapshot import Snapshot, logits_of, snapshot_of
from zsrobust.evaluation.checks.state_checks import (
    RANDOM,
    STATEFUL,
    TOLERANCE,
    TRANSDUCTIVE,
    answers_alone,
    changed,
)
from zsrobust.evaluation.outcomes import TIE
from zsrobust.evaluation.probes import BlackBoxAttack, BlackBoxProbe, Dependence
from zsrobust.evaluation.results import Finding, Results
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import ZSRobustError
from zsrobust.utils.files import write_text
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.units import format_radius

FEWEST, MOST, SHARE = 16, 32, 8
"""Samples: an eighth of the set, at least 16 and at most 32, of those that the model has right."""
NEEDED = 7
"""Fewer than this cannot differ beyond chance, whatever is found."""
PASSES = 15
"""About what a sample takes: both attacks, and the questions to copies."""
TRANSFER_STEPS = 3
QUERIES = 8
FURTHER = 1.25
"""How much more of the lead an attack has to take to have gone further."""
HAIR = 0.01
"""Of eps: how far images are moved before they are judged. A defence that draws its noise from the
pixels then draws anew, as for images that were not chosen for a lucky draw."""
OTHER_BATCH = 5
"""Images at once when a copy is asked about the clean ones: a batch the evaluation did not have."""

PARAMETERS = {
    "transfer_steps": TRANSFER_STEPS,
    "queries": QUERIES,
    "further": FURTHER,
    "hair": HAIR,
}


@dataclass(frozen=True)
class Drawn:
    """N samples that the model has right, and how the attacks with gradients left them.

    Attributes:
        batch: the samples.
        clean: lead of the true class before any attack, (N,), as it was counted.
        taken: how much of it the best attack took, (N,); infinite where it does not say.
        fooled: which of them one of the attacks fooled, (N,).
    """

    batch: Batch
    clean: Tensor
    taken: Tensor
    fooled: Tensor

    def only(self, which: Tensor) -> Drawn:
        """Those of ``which`` (N,) of bool."""
        chosen = zip(self.batch.sample_ids, which.tolist(), strict=True)
        ids = [sample_id for sample_id, keep in chosen if keep]
        batch = Batch(self.batch.images[which], self.batch.labels[which], ids)
        return Drawn(batch, self.clean[which], self.taken[which], self.fooled[which])


def probe_passes(n: int) -> int:
    """About how many passes the probe of a model on ``n`` samples takes."""
    return PASSES * _most(n)


def _most(n: int) -> int:
    """How many samples of ``n`` are attacked, at most."""
    return min(MOST, max(FEWEST, n // SHARE))


Make = Callable[[nn.Module, Batch], Tensor]
"""A model to ask, and samples, to adversarial images (N, 3, H, W)."""


def probe_cell(
    cell: Cell, surrogates: Mapping[str, Callable[[], ZeroShotClassifier]], seed: int
) -> BlackBoxProbe | None:
    """The probe of one model on one data set at the first radius above 0; cached on disk.

    None where no attack with gradients was asked for, or too few samples are right.

    Args:
        cell: computed before.
        surrogates: classifiers to make images on, by name.
        seed: of every random number.
    """
    threat = next((one.threat for one in cell.attacks if one.threat.eps > 0), None)
    asked_for = [one for one in cell.attacks if one.threat == threat and not one.black_box]
    attacks = list({one.name: one for one in map(cell.on_all, asked_for)}.values())
    if threat is None or not attacks:
        return None
    asked = [PARAMETERS, seed, sorted(surrogates), [one.describe() for one in attacks]]
    path = cell.parts / cell.key_of(["probe", asked]) / "probe.json"
    try:
        return BlackBoxProbe.of_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Not probed yet.
    clean, after = cell.clean(), [cell.attacked(attack) for attack in attacks]
    order = keyed_order(clean.sample_ids, seed, "probe")
    most = _most(len(order))
    rows = [row for row in order if clean.right[row]][:most]
    if len(rows) < NEEDED:
        return None
    (batch,) = cell.measurement.batches(rows, most)
    leads = torch.tensor([clean.margins[row] for row in rows], device=batch.images.device)
    taken = torch.full_like(leads, -torch.inf)
    for attack, found in zip(attacks, after, strict=True):
        left = torch.tensor([found.margins[row] for row in rows]).to(leads)
        # Library attacks hand back the clean image where they fail, and parts come one by one.
        known = leads - left if isinstance(attack, PGD) else torch.inf
        taken = torch.maximum(taken, known * torch.ones_like(leads))
    fooled = [not all(found.right[row] for found in after) for row in rows]
    drawn = Drawn(batch, leads, taken, torch.tensor(fooled, device=leads.device))
    makers: dict[str, Make] = {
        f"transfer(pgd-{TRANSFER_STEPS}, {name})": partial(
            _transferred, surrogate=surrogate, threat=threat, seed=seed
        )
        for name, surrogate in surrogates.items()
    }
    makers[f"random search of {QUERIES} queries"] = partial(_searched, threat=threat, seed=seed)
    classifier = cell.measurement.classifier
    devices = [batch.images.device] if batch.images.is_cuda else []
    with frozen(classifier), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        found_by, dependence = _probed(classifier, drawn, makers, threat, seed)
    report = BlackBoxProbe(
        model=cell.model.name,
        dataset=cell.images.name,
        norm=threat.norm,
        eps=float(threat.eps),
        n=len(rows),
        compared_with=[attack.name for attack in attacks],
        fallen=sum(fooled),
        attacks=found_by,
        dependence=dependence,
        parameters={**PARAMETERS, "seed": seed},
    )
    write_text(path, json.dumps(asdict(report)) + "\n")
    return report


def _probed(
    model: nn.Module, drawn: Drawn, makers: Mapping[str, Make], threat: ThreatModel, seed: int
) -> tuple[list[BlackBoxAttack], Dependence]:
    snapshot, standing = snapshot_of(model), drawn.only(~drawn.fooled)
    found: list[BlackBoxAttack] = []
    shown: Tensor | None = None
    for name, make in makers.items() if len(standing.batch) >= NEEDED else ():

        def answers(part: Drawn, make: Make = make) -> tuple[Tensor, Tensor]:
            asked = snapshot.copy(model)
            images = _moved(part.batch, make(asked, part.batch), threat, seed)
            return images, logits_of(asked, images)

        try:
            images, logits = answers(standing)
        except ZSRobustError:
            continue  # The original is gone, or has no gradient: there is nothing to show.
        shown = images if shown is None else shown
        further, fallen = _further(standing, logits)
        less_far = ~further
        # Those fooled before can only count against it; they are asked where that matters.
        if significantly_more(further, less_far) and bool(drawn.fooled.any()):
            others = drawn.only(drawn.fooled)
            _, rest = _further(others, answers(others)[1])
            less_far = torch.cat([less_far, ~rest])
            further = torch.cat([further, torch.zeros_like(rest)])
            fallen = torch.cat([fallen, rest])
        counts = [int(which.sum()) for which in (further, less_far, fallen)]
        found.append(BlackBoxAttack(name, len(further), *counts))
        if significantly_more(further, less_far):
            break  # That is enough to warn.
    if shown is None:  # Too few are still correct to attack them.
        shown = threat.start(drawn.batch.images, _noise(drawn.batch, seed))
    return found, _dependence(snapshot, model, drawn, shown)


def _further(drawn: Drawn, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples (N,) an attack took further than those before, and which it fooled."""
    lead = -margin(logits, drawn.batch.labels)
    fallen, taken = lead < 0, drawn.clean - lead
    more = (taken > FURTHER * drawn.taken) & (taken > TIE)
    return ~drawn.fooled & (fallen | more), fallen


def _dependence(snapshot: Snapshot, model: nn.Module, drawn: Drawn, shown: Tensor) -> Dependence:
    """Whether what was counted is what a copy answers that has not been asked anything else.

    Asked about the clean images backwards and a few at a time, against what was counted; and about
    the changed images ``shown``, against what the model says of them by now.
    """
    images, labels = drawn.batch.images, drawn.batch.labels
    asked = snapshot.copy(model)
    parts = images.flip(0).tensor_split(len(images) // OTHER_BATCH)
    logits = torch.cat([logits_of(asked, part) for part in parts]).flip(0)
    difference = (-margin(logits, labels) - drawn.clean).abs()
    clean = difference > TOLERANCE * spread(logits).mean()
    adversarial = changed(snapshot.answers(model, shown), logits_of(model, shown))
    kind = ""
    if snapshot.weights_moved(model):
        kind = "state"
    elif _many(clean) or _many(adversarial):
        at = images if _many(clean) else shown
        first, again = (logits_of(snapshot.copy(model), at) for _ in range(2))
        if _many(changed(first, again)):
            kind = "random"
        else:
            kind = "batch" if _many(changed(first, answers_alone(snapshot, model, at))) else "state"
    return Dependence(kind, int(clean.sum()), int(adversarial.sum()), len(adversarial))


def _many(which: Tensor) -> bool:
    return significantly_more(which, torch.zeros_like(which))


def _moved(batch: Batch, adversarial: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    return threat.project(batch.images, adversarial + HAIR * threat.eps * _noise(batch, seed))


def _noise(batch: Batch, seed: int) -> Tensor:
    return uniform_noise(batch.images, batch.sample_ids, seed=seed, purpose="hair")


def _transferred(
    _: nn.Module,
    batch: Batch,
    surrogate: Callable[[], ZeroShotClassifier],
    threat: ThreatModel,
    seed: int,
) -> Tensor:
    attack = PGD(threat, steps=TRANSFER_STEPS, seed=seed)
    return attack(surrogate(), batch.images, batch.labels, batch.sample_ids)


def _searched(model: nn.Module, batch: Batch, threat: ThreatModel, seed: int) -> Tensor:
    probe = Probe(model, batch.images, batch.labels, batch.sample_ids, threat, seed)
    return random_search(probe, lambda x: margin(probe.logits(x), probe.labels), queries=QUERIES)


KINDS = {
    "random": (
        "the same question has another answer each time",
        RANDOM,
    ),
    "batch": ("answers depend on the other images of the batch", TRANSDUCTIVE),
    "state": ("answers depend on what was asked before", STATEFUL),
}


def probe_goes_no_further(results: Results) -> list[Finding]:
    """No attack without gradients surely takes more of the lead than the best with them.

    An exact one-sided sign test at 1 %, on a few samples that the model has right.
    """
    wrong = [
        Finding(
            "black-box probe",
            False,
            f"{_where(probe)}: {attack.name}, without the model's gradient, goes further than "
            f"{' and '.join(probe.compared_with)} on {attack.further} of {attack.asked} samples "
            f"and less far on {attack.less_far}; {attack.fallen} fall to it, "
            f"{probe.fallen} of {probe.n} to the attack with gradients",
            {
                "further": attack.further / attack.asked,
                "fallen_to_black_box": attack.fallen / attack.asked,
                "fallen_to_white_box": probe.fallen / probe.n,
            },
            "The gradients mislead the attack (gradient masking), or it has too few steps, so the "
            "number says nothing about robustness. Run `--sanity` to see why, attack with "
            "`square` and `transfer(...)`, and report the lowest accuracy that any attack reached.",
        )
        for probe in results.probes
        for attack in probe.attacks
        if _significantly_further(attack)
    ]
    return wrong or passed(
        "black-box probe",
        len(results.probes),
        "no gradient-free attack is significantly stronger than those with gradients",
    )


def answers_repeat(results: Results) -> list[Finding]:
    """A copy that was never asked answers as was counted, in another order and other batches."""
    wrong = []
    for probe in results.probes:
        found = probe.dependence
        if found.kind:
            what, explanation = KINDS[found.kind]
            wrong.append(
                Finding(
                    "answers repeat",
                    False,
                    f"{_where(probe)}: {what}: an unqueried copy gives {found.clean} of {probe.n} "
                    f"clean images other logits than were counted, and {found.adversarial} of "
                    f"{found.shown} perturbed ones other logits than the model does by now",
                    {
                        "changed_clean": found.clean / probe.n,
                        "changed_adversarial": found.adversarial / max(1, found.shown),
                    },
                    explanation,
                )
            )
    return wrong or passed(
        "answers repeat",
        len(results.probes),
        "a fresh copy gives the same predictions in another order and in other batches",
    )


def _significantly_further(attack: BlackBoxAttack) -> bool:
    decided = attack.further + attack.less_far
    if not decided:
        return False
    return bool(binomtest(attack.further, decided, alternative="greater").pvalue < SURE)


def _where(probe: BlackBoxProbe) -> str:
    return f"{probe.model} on {probe.dataset} at {format_radius(probe.norm, probe.eps)}"
