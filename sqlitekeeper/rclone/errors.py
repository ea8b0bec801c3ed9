"""Errors of rclone, with the hint that fits."""

import signal
from collections.abc import Callable, Sequence

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.redaction import without_secrets

# https://rclone.org/docs/#exit-code: 1 is uncategorised, 5 temporary; the others say "never".
MAY_PASS = frozenset({1, 5})
_BROKEN = "the connection broke; is there a proxy or a firewall in between?"
_HINTS = (
    ("custom CA bundle", "rclone before 1.64 does not start S3 with AWS_CA_BUNDLE set: unset it"),
    ("find section in config", "no such remote: `rclone listremotes` names those that there are"),
    ("unknown flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unknown shorthand flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unable to decrypt config", "set RCLONE_CONFIG_PASS for an encrypted rclone.conf"),
    ("load config file", "rclone cannot read its configuration; `rclone config file` names it"),
    ("no space left", "the destination's disk is full"),
    ("disk quota exceeded", "the destination's disk is full, for this user"),
    ("file too big for remaining disk space", "the destination's disk is full"),
    ("TimeTooSkewed", "this host's clock is wrong: set it, and keep it right with NTP"),
    ("permission denied", "this user may not read or write there"),
    ("AccessDenied", "the key lacks a permission on this bucket"),
    ("401 unauthorized", "the key is wrong, or lacks a capability on this bucket"),  # B2
    ("SignatureDoesNotMatch", "the secret key is wrong, or it is not this bucket's"),
    ("InvalidAccessKeyId", "the key is not known there: wrong, or revoked"),
    ("NoSuchBucket", "create the bucket first, or check its name"),
    ("connection refused", "the destination does not answer; is it up?"),
    ("connection reset", _BROKEN),
    ("broken pipe", _BROKEN),
    ("use of closed network connection", _BROKEN),
    ("unexpected EOF", _BROKEN),
    ("i/o timeout", "the destination does not answer; is it up?"),
    ("no such host", "the destination's name cannot be resolved"),
    ("certificate", "the destination's certificate is not trusted; is this host's clock right?"),
)


class RcloneError(KeeperError):
    """rclone did not do what it was asked; the message holds its own last words."""


class RcloneFailedError(RcloneError):
    """rclone ended with a status other than 0; negative is the signal that killed it.

    `words` are its last ones, `words_about` has those about a single object.
    """

    def __init__(
        self,
        command: str,
        where: str,
        status: int,
        words: Sequence[str],
        words_about: Callable[[str], list[str]] = lambda path: [],
    ) -> None:
        self.status = status
        self._run = command, where, status
        self._words_about = words_about
        said = "; ".join(words) or "it said nothing"
        cause = f"killed by {_signal_name(-status)}" if status < 0 else f"status {status}"
        super().__init__(f"rclone {command} failed{_at(where)} ({cause}): {said}", hint=hint(said))

    def about(self, path: str) -> "RcloneFailedError":
        """The same failure as it concerns one object, where rclone has said something of it."""
        words = self._words_about(path)
        return RcloneFailedError(*self._run, words) if words else self


class RcloneStalledError(RcloneError):
    """rclone was ended, because nothing had moved for too long."""

    def __init__(self, command: str, where: str, seconds: float, words: Sequence[str]) -> None:
        said = "; ".join(["", *words])
        super().__init__(
            f"rclone {command}{_at(where)} made no progress for {seconds:g} s and was ended{said}",
            hint="does the destination answer? how long to wait is backup.timeout in keeper.toml",
        )


def _at(where: str) -> str:
    return f" at {without_secrets(where)}" if where else ""


def _signal_name(number: int) -> str:
    """Also of the real-time signals, most of which Python has no name for."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first = getattr(signal, "SIGRTMIN", number + 1)
        return f"SIGRTMIN+{number - first}" if number > first else f"signal {number}"


def hint(said: str) -> str | None:
    """What to do about some words of rclone's."""
    return next((hint for sign, hint in _HINTS if sign.lower() in said.lower()), None)
