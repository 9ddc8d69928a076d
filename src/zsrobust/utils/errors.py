"""The two kinds of failure a person meets, and the end by a signal; the exit code of each."""

import signal


class ZSRobustError(Exception):
    """A failure told in one sentence: what was wrong, where, and what would be right."""

    exit_code = 1


class RequestError(ZSRobustError):
    """What was asked for cannot be done as asked: a bad path, name, key or value."""

    exit_code = 2


class InUse(RequestError):
    """Another process is at work there."""


class RunError(ZSRobustError):
    """The request was sound, but the run failed: a non-finite loss, a full disk."""


class NotWritten(RunError, OSError):
    """The disk is full, read-only or failing; an ``OSError`` too, for who can go on without."""

    def __str__(self) -> str:
        return str(self.strerror)


class Diverged(RunError):
    """Loss or gradient is not finite: the same run would end so again."""


class NonFinite(Diverged):
    """A training step's loss or gradient is not finite.

    Attributes:
        figures: of the step.
    """

    def __init__(self, sentence: str, figures: dict[str, float] | None = None) -> None:
        super().__init__(sentence)
        self.figures = figures or {}


class ProcessLost(RunError):
    """Another process of the group is gone; the code is that of sysexits.h for a later try."""

    exit_code = 75


class Stopped(KeyboardInterrupt):
    """A signal ended the work; what was done is kept, and the same command goes on from there.

    Attributes:
        exit_code: 128 and the signal's number, as a shell says it: 130 for SIGINT (Ctrl-C), 143
            for SIGTERM.
    """

    def __init__(
        self, sentence: str = "interrupted; the same command goes on from here", by: int = 0
    ) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + (by or signal.SIGINT)
