"""A process of its own that answers questions, for measurements that need other variables."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def worker(
    code: str,
    *arguments: object,
    variables: Mapping[str, str],
    without: Collection[str],
) -> Iterator[Callable[[str], Any]]:
    """Start Python on ``code``, which calls :func:`answer`; the process ends with the context.

    Args:
        code: what it runs.
        arguments: of its command line.
        variables: of its environment, beside those of this process.
        without: variables of this process that it does not get.

    Returns:
        From a question, a line, to its answer.
    """
    others = {name: value for name, value in os.environ.items() if name not in without}
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        env={**others, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(line: str) -> Any:
            print(line, file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        try:
            yield ask
        finally:
            process.kill()


def answer(found: Callable[[str], object]) -> None:
    """In such a process: answer each line of stdin."""
    # Ctrl-C reaches all processes of the terminal; the first one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in map(str.strip, sys.stdin):
        print(json.dumps(found(line)), flush=True)
