"""Where the question is asked: a model, what it is fine-tuned on, what it is evaluated on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.data.published.sets import paper_sets, published_sets
from zsrobust.data.suites import expand
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class World:
    """A replication's every number but the learning rates, which are searched for.

    Attributes:
        name: word of the command line.
        base: every fine-tuning, but for method, rate, seed and folder.
        start: where the search for each learning rate begins; on the grid of ``tuning``.
        seeds: training runs of each method in the two main comparisons.
        pgd: evaluation of every model, but for models and folder.
        autoattack: of the models of the first comparison.
    """

    name: str
    base: FinetuneConfig
    start: float
    seeds: tuple[int, ...]
    pgd: EvaluateConfig
    autoattack: EvaluateConfig


def glyphs() -> World:
    """glyph-clip, fine-tuned on the glyph world's training set, on its suite of 26 sets.

    The radius leaves the undefended model close to nothing, as 1/255 does with CLIP. At twice that
    radius PMG-AFT (paper) was seen to collapse; the ablations ask that again.
    """
    base = _base("glyph-clip", "glyph:training", Eps("4/255"), steps=300, batch_size=64)
    return World(
        name="glyphs",
        base=replace(base, hold_out=0.025),
        start=1e-3,
        seeds=SEEDS,
        pgd=_evaluation(base, ["glyphs"], "pgd-10", samples=100),
        # All 26 would take a CPU three times as long.
        autoattack=_evaluation(base, expand(["glyphs"])[::3], "autoattack", samples=10),
    )


def photos(folder: Path) -> World:
    """photo-lite, fine-tuned on TinyImageNet, on all further sets of the paper in ``folder``.

    CIFAR-10 may also be there as class folders, ``cifar10/test/CLASS``.

    Raises:
        RequestError: if TinyImageNet is not there, or no further set is.
    """
    train, test = _photographs(folder)
    return photos_of(train, test)


def photos_of(train: str, test: list[str]) -> World:
    """photo-lite, fine-tuned on the one set and evaluated on the others.

    Short, for CPUs, but not as short as could be: after 150 steps of 32 no method kept more than
    12.2 % of held-out images under PGD-10.
    """
    base = _base("photo-lite", train, Eps("1/255"), steps=200, batch_size=64)
    return World(
        name="photos",
        base=base,
        start=1e-3,
        seeds=SEEDS,
        pgd=_evaluation(base, test, "pgd-10", samples=500),
        autoattack=_evaluation(base, test, "autoattack", samples=100),
    )


def _photographs(folder: Path) -> tuple[str, list[str]]:
    found = {known.kind: place for known in paper_sets() if (place := known.below(folder))}
    train = found.pop("tiny-imagenet", None)
    if train is None:
        raise RequestError(
            f"{folder} holds no TinyImageNet, which photos is fine-tuned on: it must lie in "
            f"{folder / 'tiny-imagenet-200'}"
        )
    # Papers evaluate sets that have no test split whole.
    sets = [
        f"{kind}:{place}" + (",split=all" if published_sets()[kind].own_split else "")
        for kind, place in found.items()
    ]
    if "cifar10" not in found and (folder / "cifar10" / "test").is_dir():
        sets.insert(0, f"imagefolder:{folder / 'cifar10' / 'test'},name=cifar10,resolution=32")
    if not sets:
        raise RequestError(
            f"{folder} holds TinyImageNet alone: put there a set that the model is not fine-tuned "
            f"on, such as {', '.join(known.kind for known in paper_sets()[1:4])}"
        )
    spec = f"tiny-imagenet:{train}"
    return spec, [spec, *sets]


def _base(model: str, train: str, eps: Eps, *, steps: int, batch_size: int) -> FinetuneConfig:
    return FinetuneConfig(
        model=model,
        data=train,
        attack=TrainingAttack(eps=eps, steps=2, step_size=eps),
        # The rate is searched for.
        optimizer=Optimizer(warmup_steps=steps // 10),
        steps=steps,
        batch_size=batch_size,
        # The last model is the only candidate: all methods are shown after equal steps.
        evaluate_every=steps,
        checkpoint_every=100,
    )


def _evaluation(
    base: FinetuneConfig, test: list[str], attack: str, *, samples: int
) -> EvaluateConfig:
    return EvaluateConfig(
        model=[base.model], data=test, attack=[attack], eps=[base.attack.eps], samples=samples
    )
