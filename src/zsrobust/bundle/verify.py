"""Whether a bundle's figures follow from its outcomes, and what no bundle can show."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsrobust._version import __version__
from zsrobust.bundle.archive import OUTCOMES, RESULTS, Archive
from zsrobust.bundle.claims import inadequate, misdescribed, unfit_request, unpublished, weakened
from zsrobust.bundle.manifest import describe
from zsrobust.bundle.recompute import Samples, impossible, recomputed, where
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.outcomes import COLUMNS
from zsrobust.evaluation.results import PROJECTED, SCHEMA, Finding, Results, failed
from zsrobust.reporting.inputs import require_whole
from zsrobust.utils.errors import RequestError

MOST_ROWS, MOST_TEXT = 5_000_000, 1 << 30
"""Outcomes of a bundle, and bytes that a column of them takes in memory."""
PRECISION = 1e-9
"""Of intervals and of two-phase estimates: libraries differ in their last digits."""
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
"""What reading values of other types than results have ends in."""

UNCHECKED = (
    "that the weights of this hash give these outcomes, on the images that the sample ids name "
    "(--recheck N asks the model)",
    "zero_gradients, black-box probes and sanity reports, which need the model",
    "what the model was trained on: seen is what the sender says",
)


@dataclass(frozen=True)
class Verified:
    """What was found of one bundle, in sentences.

    Attributes:
        archive: the bundle.
        run: its results and outcomes.
        checked: what agrees.
        contradictions: what cannot be true.
        warnings: what speaks against the numbers, without being a contradiction.
        unfit: what keeps it off a leaderboard: too weak an attack, a part of a data set.
        unchecked: what a bundle cannot show.
    """

    archive: Archive
    run: EvaluatedRun
    checked: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def verify(archive: Archive) -> Verified:
    """Compute every figure again, and say what agrees, what does not, and what stays open.

    Raises:
        RequestError: if a file of the bundle is damaged or too large.
    """
    try:
        content = json.loads(archive.results)
        run = _opened(archive, content)
        return _verified(archive, run, content)
    except (*DAMAGE, RecursionError) as error:
        reason = f"{type(error).__name__} {error}"[:200]
        writer = archive.manifest.get("package")
        raise RequestError(
            f"{archive.name} is damaged, or not of this version (written by {writer}, read by "
            f"{__version__}): {reason}"
        ) from None


def _opened(archive: Archive, content: dict[str, Any]) -> EvaluatedRun:
    if content["schema"] != SCHEMA:
        raise RequestError(f"{archive.name} has schema {content['schema']}: this reads {SCHEMA}")
    results = Results.of_plain(content)
    if content.keys() != results.as_dict().keys():
        raise RequestError(f"{archive.name}: {RESULTS} has other keys than evaluations write")
    path = Path(archive.name)
    require_whole(path / RESULTS, results)
    for row in results.rows:
        texts, numbers = (row.split, row.norm, row.key), (row.eps, row.n)
        if not all(isinstance(text, str) for text in texts) or not all(map(math.isfinite, numbers)):
            raise RequestError(f"{archive.name}: {RESULTS} is damaged: the row of {row.model}")
    return EvaluatedRun(path, results, _outcomes(archive, sum(row.n for row in results.rows)))


def _outcomes(archive: Archive, rows: int) -> pa.Table:
    """The table of outcomes; its size is known before any of it is expanded."""
    where = f"{archive.name}: {OUTCOMES}"
    texts = [name for name, kind in COLUMNS.items() if kind == pa.string()]
    try:
        schema = pq.read_schema(io.BytesIO(archive.outcomes))
        if dict(zip(schema.names, schema.types, strict=True)) != COLUMNS:
            raise RequestError(f"{where} has other columns than evaluations write")
        file = pq.ParquetFile(io.BytesIO(archive.outcomes), read_dictionary=texts)
        there = file.metadata.num_rows
        if there != rows:
            raise RequestError(f"{where} holds {there} outcomes, and the rows count {rows}")
        if there > MOST_ROWS:
            raise RequestError(f"{where} holds {there} outcomes, more than {MOST_ROWS}")
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        parts = [group.column(at) for group in groups for at in range(group.num_columns)]
        if {part.compression for part in parts} - {"SNAPPY", "UNCOMPRESSED"}:
            raise RequestError(f"{where} is compressed in another way than bundles are")
        table = file.read()
        for name in texts:
            lengths = (pc.binary_length(chunk.dictionary) for chunk in table[name].chunks)
            longest = max((pc.max(one).as_py() or 0 for one in lengths), default=0)
            if longest * there > MOST_TEXT:
                raise RequestError(f"{where} holds a {name} of {longest} bytes")
        table = table.cast(pa.schema(list(COLUMNS.items())))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"{where} is damaged: {reason}") from None
    for name in COLUMNS:
        if name not in ("stratum", "drawn_parts") and table[name].null_count:
            raise RequestError(f"{where} lacks a {name}")
    return table


def _verified(archive: Archive, run: EvaluatedRun, content: dict[str, Any]) -> Verified:
    found = Verified(archive, run, unchecked=list(UNCHECKED))
    results = run.results

    def note(what: str, sentences: Iterator[str]) -> None:
        wrong = list(dict.fromkeys(sentences))
        found.contradictions.extend(wrong)
        if not wrong:
            found.checked.append(what)

    note("every outcome belongs to one row", _misplaced(run))
    if found.contradictions:
        return found
    samples = [Samples.of(run, row) for row in results.rows]
    counts = f"{len(samples)} rows and {sum(row.n for row in results.rows)} outcomes"
    note(f"{counts}: predictions, margins and losses agree with each other", impossible(samples))
    if found.contradictions:
        return found
    again = recomputed(run, samples)
    note("accuracies, intervals and counts are those of the outcomes", _rows(again, content))
    note("averages are those of the rows", _averages(again, content))
    again = replace(again, findings=diagnose(again))
    note("diagnostics find what the results say", _findings(results, again))
    note("rows are as the protocol says", misdescribed(results))
    note("attacks have the parameters that their names stand for", weakened(results))
    note("the request is that of the results", unfit_request(archive.manifest["request"], results))
    about = describe(run, archive.manifest["request"])
    note("the manifest is that of the results", _manifest(archive.manifest, about))
    published = list(unpublished(results))
    note(
        "no data set contradicts the published one that it names",
        (sentence for verdict, sentence in published if verdict == "contradiction"),
    )
    found.unchecked.extend(sentence for verdict, sentence in published if verdict == "unchecked")
    found.unfit.extend(sentence for verdict, sentence in published if verdict == "unfit")
    found.warnings.extend(finding.sentence for finding in failed(again.findings))
    found.unfit.extend(inadequate(again))
    return found


def _misplaced(run: EvaluatedRun) -> Iterator[str]:
    """What outcomes are of no row, or of another number of samples."""
    keys = ("model", "dataset", "split", "attack", "eps", "key")
    counted = run.outcomes.group_by(list(keys)).aggregate([([], "count_all")]).to_pylist()
    left = {tuple(line[key] for key in keys): line["count_all"] for line in counted}
    for row in run.results.rows:
        count = left.pop(tuple(getattr(row, key) for key in keys), 0)
        if count != row.n:
            yield f"{where(row)}: the row counts {row.n} samples, the outcomes are of {count}"
    for model, dataset, _, attack, *_ in left:
        yield f"{model} on {dataset}, {attack}: there are outcomes, and no row is of them"


def _rows(again: Results, content: dict[str, Any]) -> Iterator[str]:
    for row, plain in zip(again.rows, content["results"], strict=True):
        computed = _plain(asdict(row))
        if plain.keys() != computed.keys():
            yield f"{where(row)}: the row has other fields than evaluations write"
        for key, value in computed.items():
            near = row.sampling is not None or key.startswith("ci95")
            if not _same(plain.get(key), value, PRECISION if near else 0.0):
                yield (
                    f"{where(row)}: {key} is {_short(plain.get(key))}, and the outcomes give "
                    f"{_short(value)}"
                )


def _averages(again: Results, content: dict[str, Any]) -> Iterator[str]:
    averages = [_plain(asdict(one)) for one in again.averages]
    if len(averages) != len(content["averages"]):
        yield f"there are {len(content['averages'])} averages, and the rows give {len(averages)}"
        return
    for plain, computed in zip(content["averages"], averages, strict=True):
        for key in plain.keys() | computed.keys():
            if not _same(plain.get(key), computed.get(key), PRECISION):
                yield (
                    f"the average of {computed['model']} over {computed['over']} sets: {key} is "
                    f"{_short(plain.get(key))}, and the rows give {_short(computed.get(key))}"
                )


def _findings(results: Results, again: Results) -> Iterator[str]:
    """Failed checks that are not in both; and other figures of the same checks."""

    def named(findings: Sequence[Finding]) -> list[tuple[str, bool]]:
        return [(finding.check, finding.passed) for finding in findings]

    told = [one for one in results.findings if one.check != PROJECTED]
    stored, found = named(failed(told)), named(failed(again.findings))
    for check in dict.fromkeys(name for name, _ in [*stored, *found]):
        before, now = stored.count((check, False)), found.count((check, False))
        if before != now:
            yield f"the check {check!r} fails {now} times, and the results name {before} failures"
    if named(told) == named(again.findings):
        for one, other in zip(told, again.findings, strict=True):
            if not _same(_plain(one.figures), _plain(other.figures), PRECISION):
                yield f"the check {one.check!r} has other figures than the outcomes give"


def _manifest(manifest: dict[str, Any], about: dict[str, Any]) -> Iterator[str]:
    about = {**_plain(about), "package": manifest.get("package")}
    for key in sorted(manifest.keys() | about.keys()):
        if not _same(manifest.get(key), about.get(key), 0.0):
            yield f"{key} of the manifest is not that of the results"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _same(one: Any, other: Any, precision: float) -> bool:
    """Whether two JSON values are equal, numbers to a precision; NaN equals NaN."""
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=precision, abs_tol=precision)
    if isinstance(one, dict) and isinstance(other, dict):
        same = list(one) == list(other)
        return same and all(_same(one[key], other[key], precision) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(a, b, precision) for a, b in pairs)
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    return json.dumps(value)[:200]
