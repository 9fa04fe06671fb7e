"""What the program says when its user can mend it: one message, without a traceback.

Each message tells what was expected, what was found, and the next move. Anything else that is
raised is a fault of the program and keeps its traceback.
"""


class NowcastError(Exception):
    """A run that failed for a reason its user can act on (exit status 1)."""

    exit_status = 1


class ConfigError(NowcastError):
    """A config, argument or path that cannot be used as given (exit status 2)."""

    exit_status = 2


class DataError(NowcastError):
    """A file of an archive that does not hold what it must (exit status 1)."""


class RunError(NowcastError):
    """A run folder or checkpoint that cannot be used, or a run that cannot go on (status 1)."""


class TrainingFailed(RunError):
    """Training that has come to no numbers: with this config it would again (exit status 1)."""
