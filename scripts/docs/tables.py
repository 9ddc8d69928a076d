"""Write the tables of the docs that are generated: python scripts/docs/tables.py

A table stands in its page between ``<!-- table: NAME -->`` and ``<!-- end -->``, so that it can be
read in the repository, too. A test fails where one is not up to date.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from pathlib import Path

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.data.published.sets import PublishedSet, paper_sets, published_groups
from zsrobust.evaluation.comparison.published import load_published
from zsrobust.evaluation.defences import DefenceRow
from zsrobust.evaluation.results import Results
from zsrobust.models.zoo import RADII, ZOO, entries
from zsrobust.objectives import OBJECTIVES
from zsrobust.reporting.summary import attack_table
from zsrobust.reporting.tables import percent
from zsrobust.sweep.dry_run import AUTOATTACK, PGD_10
from zsrobust.sweep.plan_file import load_study, plan_path
from zsrobust.training.cost import passes_per_step
from zsrobust.utils.units import format_radius

DOCS = Path(__file__).parents[2] / "docs"
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADINGS = ("set", "images by split", "classes", "prompt", "attacked at", "download", "licence")
HEADINGS += ("source", "got by")


def with_tables(page: str) -> str:
    """The text of a page with every table as it is generated now."""
    return PLACE.sub(lambda found: f"{found[1]}{table(found[2])}\n{found[3]}", page)


def table(name: str) -> str:
    """What is made by a function of that name, or a group of sets, in Markdown."""
    made = {one.__name__: one for one in (methods, coverage, zoo, paper_cost, defences, attacks)}
    return made[name]() if name in made else sets(published_groups()[name].values())


def coverage() -> str:
    """Coverage of two-phase intervals, in per cent: cells of one kind and size in a row."""
    cells = json.loads((DOCS / "performance" / "coverage.json").read_text("utf-8"))["rows"]
    groups: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for cell in cells:
        kind = cell["cell"] if cell["cell"].startswith("synthetic") else "committed outcomes"
        groups.setdefault((kind, cell["interval"], cell["n"]), []).append(cell)
    lines = [
        "| population | interval of | images | cells | least | mean | most | drawn |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for (kind, interval, n), found in groups.items():
        held = [100 * cell["coverage"] for cell in found]
        drawn = 100 * sum(cell["drawn"] for cell in found) / len(found)
        mean = sum(held) / len(held)
        lines.append(
            f"| {kind} | {interval} | {n:,} | {len(found)} | {min(held):.1f} | {mean:.1f} | "
            f"{max(held):.1f} | {drawn:.0f} |"
        )
    return "\n".join(lines)


def methods() -> str:
    """A row for each method: name, title, first paragraph of the docstring, paper."""
    lines = ["| `--method` | name | loss | paper |", "| --- | --- | --- | --- |"]
    for name, kind in sorted(OBJECTIVES.items()):
        summary = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
        loss = re.sub("``(.*?)``", lambda found: _code(found[1]), summary)
        paper = f"[{kind.arxiv}](https://arxiv.org/abs/{kind.arxiv})" if kind.arxiv else ""
        lines.append(f"| `{name}` | {kind.title} | {loss} | {paper} |")
    return "\n".join(lines)


def zoo() -> str:
    """A row for each public robust model."""
    head = ("`--model`", "architecture", "method", "eps", "licence", "paper", "clean", *RADII)
    lines = [head, ["---"] * 6 + ["--:"] * (len(head) - 6)]
    for one in entries().values():
        if one.name.startswith(ZOO):
            facts = (one.architecture, one.method, one.eps, one.licence, _papers(one.paper))
            lines.append((f"[`{one.name}`]({one.card})", *facts, *one.claimed))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def defences() -> str:
    """A row for each defended model, behind the model that it defends."""
    found = json.loads((DOCS / "replication" / "defences.json").read_text("utf-8"))
    lines = [
        "| model | on | clean | static | every attack | strongest attack | passes |",
        "| --- | --- | --: | --: | --: | --- | --: |",
    ]
    undefended = {(row["model"], row["dataset"]): row for row in found if not row["defence"]}
    for (base, dataset), plain in undefended.items():
        behind = re.compile(rf"\({re.escape(base)}[,)]")
        of_base = [
            row for row in found if row["dataset"] == dataset and behind.search(row["model"])
        ]
        for row in [plain, *of_base]:
            defence, attacks = row["defence"], row["attacks"]
            fields = {field.name: row[field.name] for field in dataclasses.fields(DefenceRow)}
            figures = [percent(*one) if one else "" for one in DefenceRow(**fields).figures]
            lowest = min(attacks, key=lambda name: attacks[name]["robust_acc"])
            passes = [defence.get("forward_passes", 1), defence.get("backward_passes", 0)]
            cells = [
                f"`{row['model']}`",
                f"{dataset}, {format_radius(row['norm'], row['eps'])}",
                *(figures if defence else [figures[0], "", figures[2]]),
                f"{100 * attacks[lowest]['robust_acc']:.1f} by `{lowest}`",
                " + ".join(str(count) for count in passes if count),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def attacks() -> str:
    """A row for each attack, with what it leaves of three models, the strongest last."""
    path = DOCS / "replication" / "attacks" / "results.json"
    return attack_table(Results.read(path)).as_markdown()


def _papers(text: str) -> str:
    return re.sub(r"arXiv:([\d.]+)", r"[\1](https://arxiv.org/abs/\1)", text)


def _code(text: str) -> str:
    """A code span in a cell. GitHub ends a cell at a ``|`` even in one; HTML works everywhere."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def sets(known: Iterable[PublishedSet]) -> str:
    """A row for each published set, and the remarks on them."""
    known = list(known)
    lines = [HEADINGS, ["---"] * len(HEADINGS), *map(_cells, known)]
    remarks = [f"- `{one.kind}`: {one.note}" for one in known if one.note]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([rows, "", *remarks])


def _cells(known: PublishedSet) -> Iterable[str]:
    splits = [
        f"**{split} {n:,}**" if split == known.test else f"{split} {n:,}"
        for split, n in known.counts.items()
    ]
    yield f"`{known.kind}`"
    yield ", ".join(splits) + (" (train and test ours)" if known.own_split else "")
    yield f"{known.classes:,}"
    yield known.paper_template or "This is a photo of a {}"
    yield str(known.native or "after resize")
    yield f"{known.gigabytes:g} GB" if known.gigabytes else "not known"
    yield known.licence
    yield f"<{known.source.partition(' ')[0]}>"
    yield "account" if known.account else "by hand" if known.steps else "`prepare`"


GPU = "NVIDIA H200"
PRICES = (3.99, 4.59)
"""US dollars an hour, the sources in ``docs/paper.md``."""
RIGHT = 0.64
"""Share of images that the classifier of the benchmark ``pgd`` has right, and so attacks."""


def paper_cost() -> str:
    """Hours and price of the paper's experiment, from counted passes and measured rates."""
    study = load_study(plan_path("paper"), Path("out"), Path("DATA"), partial=True)
    sweep = study.stages()["equal-steps"].sweep
    tuned, originals = len(sweep.recipes), len(sweep.originals())
    train, attack = _rate("fine-tuning", "PMG-AFT, ours"), _rate("pgd", "PGD-10, ours")
    passes = train * passes_per_step(study.systems["pmg_aft_paper"].config)
    attacked = attack * (1 + RIGHT * PGD_10)
    rows: list[tuple[str, str, float]] = []
    for system in study.systems.values():
        steps, batch = system.config.steps or 0, system.config.batch_size
        each = passes_per_step(system.config)
        rows.append(
            (
                f"fine-tuning, {system.title}",
                f"{steps:,} steps of {batch} images, {each} passes an image",
                steps * batch * each / passes,
            )
        )
    counts = [known.counts["all" if known.own_split else known.test] for known in paper_sets()]
    names = len(study.evaluations["pgd"].attack)
    rows.append(
        (
            "PGD-10 and CW-10",
            f"{tuned + originals} models, {sum(counts):,} images, {names} attacks",
            (tuned + originals) * sum(counts) * names / attack,
        )
    )
    samples = sum(min(count, study.evaluations["autoattack"].samples or count) for count in counts)
    clean, standing = (_published("none"), _published("autoattack"))
    first = make_attack("apgd-ce", ThreatModel()).passes
    each = standing * AUTOATTACK + (clean - standing) * first
    work = f"{samples:,} images of {tuned} fine-tuned models"
    likely = (f"AutoAttack, {standing:.0%} standing", work, tuned * samples * each / attacked)
    most = ("AutoAttack, all standing", work, tuned * samples * AUTOATTACK / attacked)
    lines = ["| part | work | hours |", "| --- | --- | --: |"]
    lines += [f"| {part} | {what} | {_hours(seconds)} |" for part, what, seconds in (*rows, likely)]
    spent = sum(seconds for _, _, seconds in rows)
    for title, last in (("in all", likely), ("in all, if every image stood AutoAttack", most)):
        seconds = spent + last[2]
        least, dear = (f"${price * seconds / 3600:,.0f}" for price in PRICES)
        lines.append(f"| **{title}** | **{least} to {dear}** | **{_hours(seconds)}** |")
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}"


def _rate(benchmark: str, implementation: str) -> float:
    """Images a second on the GPU in fp32."""
    path = DOCS / "performance" / f"{benchmark}-cuda-fp32.json"
    measured = json.loads(path.read_text("utf-8"))
    assert measured["machine"]["device"] == GPU
    row = next(one for one in measured["rows"] if one["implementation"] == implementation)
    return float(row["images_per_second"])


def _published(attack: str) -> float:
    """The mean published accuracy of TeCoA and PMG-AFT over all sets of the table."""
    found = [
        sum(row.accuracies.values()) / len(row.accuracies)
        for row in load_published()
        if row.attack == attack and row.method in ("TeCoA", "PMG-AFT")
    ]
    return sum(found) / len(found)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text("utf-8")
        if (now := with_tables(text)) != text:
            path.write_text(now, "utf-8")
            print(f"written: {path}")
