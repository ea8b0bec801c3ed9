"""The one family of exceptions that keeper raises on purpose.

Each carries the exit status of the command that it ends and, where there is
one, a hint: what the user can do about it.
"""


class KeeperError(Exception):
    """Something could not be done. Exit status 1."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def full_text(self) -> str:
        """The message and the hint, on one line."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(KeeperError):
    """The configuration or the command line asks for something impossible."""

    exit_code = 2


class LockedError(KeeperError):
    """Another keeper run holds the lock of this database."""

    exit_code = 11


class CheckError(KeeperError):
    """A check failed: the data is not what it should be."""

    exit_code = 12


class BusyError(KeeperError):
    """The application held a database lock for longer than keeper waits."""


class KeptLockError(BusyError):
    """The application keeps its lock between transactions: waiting does not help."""


class NotADatabaseError(KeeperError):
    """The file is something else than an SQLite database, or an encrypted one."""


class ReadOnlyError(KeeperError):
    """The file, or the file system it lies on, cannot be written."""


class NoRoomError(KeeperError):
    """A folder has not got the room that something needs."""


class RunInterruptedError(KeyboardInterrupt):
    """A signal asked the run to end.

    Like KeyboardInterrupt it is no Exception: what handles the failure of one
    database must not take it for one and go on. `number` is the signal's, SIGINT's
    unless given.
    """

    def __init__(self, message: str, number: int = 2) -> None:
        super().__init__(message)
        self.number = number


def as_keeper_error(error: KeeperError | OSError) -> KeeperError:
    """What the operating system refused, as one of keeper's own errors."""
    if isinstance(error, KeeperError):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return KeeperError(f"{where}{error.strerror or error}")
