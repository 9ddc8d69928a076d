"""The two kinds of failure a person meets, and the exit code of each."""


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


class Diverged(RunError):
    """Loss or gradient is not finite: the same run would end so again."""
