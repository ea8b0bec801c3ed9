"""Errors of rclone, with the hint that fits."""

import signal
from collections.abc import Sequence

from sqlitekeeper.errors import KeeperError
from sqlitekeeper.redaction import without_secrets

# HTTP's: a program's exit status is smaller.
LEAST_ANSWER = 400
NOT_FOUND = 404
_BROKEN = "the connection broke; is there a proxy or a firewall in between?"
_HINTS = (
    ("custom CA bundle", "rclone before 1.64 does not start S3 with AWS_CA_BUNDLE set: unset it"),
    ("find section in config", "no such remote: `rclone listremotes` names those that there are"),
    ("unknown flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unknown shorthand flag", "see backup.rclone_args in keeper.toml, and `rclone version`"),
    ("unable to decrypt config", "set RCLONE_CONFIG_PASS for an encrypted rclone.conf"),
    ("load config file", "rclone cannot read its configuration; `rclone config file` names it"),
    *(
        (sign, "rclone takes each RCLONE_<FLAG> of the environment for a flag: env -u unsets it")
        for sign in ("from environment variable", "parse config item")
    ),
    (
        "source file is being updated",
        (
            "it is written to while it is uploaded: leave it out by `exclude` of its [[files]], or"
            ' rclone_args = ["--local-no-check-updated"] uploads it as long as it was at first'
        ),
    ),
    *(
        (
            sign,
            (
                "it is in an archive class: have it brought back first, on S3 by `rclone backend"
                " restore -o priority=Standard -o lifetime=7 REMOTE:PATH`, and try again in hours"
            ),
        )
        for sign in ("InvalidObjectState", "Object in GLACIER", "restore first", "BlobArchived")
    ),
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
    """rclone ended with a status other than 0 (negative: the signal that killed it), or answered
    with one of HTTP's; `words` are its last ones.
    """

    def __init__(self, command: str, where: str, status: int, words: Sequence[str]) -> None:
        self.status = status
        self._asked = command, where, status, words
        said = "; ".join(words) or "it said nothing"
        cause = f" (status {status})" if status > 0 else f" (killed by {_signal_name(-status)})"
        cause = "" if self.is_answer else cause
        super().__init__(f"rclone {command} failed{_at(where)}{cause}: {said}", hint=hint(said))

    @property
    def is_answer(self) -> bool:
        """Whether rclone has answered, and goes on."""
        return self.status >= LEAST_ANSWER

    @property
    def may_pass(self) -> bool:
        """Whether the same may succeed when it is tried again."""
        return self.is_answer and self.status != NOT_FOUND

    @property
    def is_broken(self) -> bool:
        """Whether nothing is known but that a connection broke."""
        return self.hint == _BROKEN

    def about(self, path: str) -> "RcloneFailedError":
        """The same failure with the file that it concerns."""
        command, where, status, words = self._asked
        said = "; ".join(words)
        return (
            self if path in said else RcloneFailedError(command, where, status, [f"{path}: {said}"])
        )


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
