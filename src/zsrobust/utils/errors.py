"""The errors that users see, and the exit code of each: a bad request, a failed run, a signal."""

import signal


class ZSRobustError(Exception):
    """An error with a message of one sentence: what was wrong, where, and what would be right."""

    exit_code = 1


class RequestError(ZSRobustError):
    """What was asked for cannot be done as asked: a bad path, name, key or value."""

    exit_code = 2


class InUse(RequestError):
    """Another process works in this run folder."""


class NoGradient(RequestError):
    """The model has no gradient with respect to the image."""


class RunError(ZSRobustError):
    """The request was sound, but the run failed: a non-finite loss, a full disk."""


class NotWritten(RunError, OSError):
    """The disk is full, read-only or failing; an ``OSError`` too, for callers that ignore those."""

    def __str__(self) -> str:
        return str(self.strerror)


class Diverged(RunError):
    """Loss or gradient is not finite; the same run would diverge again."""


class NonFinite(Diverged):
    """A training step's loss or gradient is not finite.

    Attributes:
        figures: the metrics of the step.
    """

    def __init__(self, sentence: str, figures: dict[str, float] | None = None) -> None:
        super().__init__(sentence)
        self.figures = figures or {}


class ProcessLost(RunError):
    """Another process of the group is gone; its exit code is EX_TEMPFAIL of sysexits.h."""

    exit_code = 75


class Stopped(KeyboardInterrupt):
    """A signal ended the work; what was done is saved, and the same command resumes from there.

    Attributes:
        exit_code: 128 plus the signal's number, as shells do: 130 for SIGINT (Ctrl-C), 143
            for SIGTERM.
    """

    def __init__(
        self, sentence: str = "interrupted; run the same command to resume", by: int = 0
    ) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + (by or signal.SIGINT)
