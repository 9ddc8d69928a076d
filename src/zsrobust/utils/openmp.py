"""How the threads of OpenMP, with which torch computes on a CPU, wait for each other.

Unless told otherwise they spin for milliseconds. Beside other work they then hold the cores that
the threads they wait for need, and a training step takes several times as long
(``docs/performance.md``).
"""

from __future__ import annotations

import os
import sys

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What decides it: in any OpenMP, in GNU's, and in LLVM's and Intel's."""
CHOSEN = {"OMP_WAIT_POLICY": "PASSIVE"}


def wait_briefly() -> None:
    """Let threads that wait sleep, in this process and in those that it starts.

    Has no effect where the user has set one of ``VARIABLES``, or torch is loaded already: OpenMP
    reads them once, when torch loads it.
    """
    if "torch" not in sys.modules and os.environ.keys().isdisjoint(VARIABLES):
        os.environ.update(CHOSEN)
