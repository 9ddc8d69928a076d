"""Write the bundle of a run folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq

from zsrobust._version import __version__
from zsrobust.bundle.anonymous import anonymous, anonymous_table
from zsrobust.bundle.archive import MOST_BYTES, RESULTS, as_json, pack, unpack
from zsrobust.bundle.manifest import describe
from zsrobust.bundle.verify import Verified, verify
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Results
from zsrobust.reporting.inputs import read_request
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_file

LEFT_OUT = ("out", "overwrite", "device", "workers", "save_adversarial")
"""Options of a request that say where and how it ran, not what."""


def write_bundle(run: EvaluatedRun, out: Path) -> Verified:
    """Write an evaluation to the file ``out``, whole or not at all, once it verifies.

    Of absolute paths in names the last part stays. Equal evaluations give equal bytes.

    Raises:
        RequestError: if figures contradict the outcomes, a name would tell a folder of this user,
            or ``out`` cannot be written.
    """
    plain = json.loads((run.folder / RESULTS).read_text(encoding="utf-8"))
    content, outcomes = anonymous(plain), anonymous_table(run.outcomes)
    request = read_request(run.folder)
    request = anonymous({key: value for key, value in request.items() if key not in LEFT_OUT})
    named = EvaluatedRun(run.folder, Results.of_plain(content), outcomes)
    buffer = io.BytesIO()
    pq.write_table(outcomes, buffer, compression="snappy")
    manifest = {"package": __version__, **describe(named, request)}
    packed = pack(manifest, as_json(content), buffer.getvalue())
    if len(packed) > MOST_BYTES:
        raise RequestError(
            f"the bundle of {run.folder} has {len(packed)} bytes, more than {MOST_BYTES}: evaluate "
            "fewer models or data sets at a time"
        )
    found = verify(unpack(packed, str(run.folder)))
    if found.contradictions:
        raise RequestError(
            f"{run.folder} contradicts itself, so that no bundle is written: "
            + "; ".join(found.contradictions)
        )
    try:
        with atomic_file(out) as temporary:
            temporary.write_bytes(packed)
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return found
