"""Texts, command lines and addresses without the secrets in them."""

import re
import shlex
from collections.abc import Iterable, Sequence

HIDDEN = "***"

# How rclone's options call what is a secret: --s3-secret-access-key, --sftp-pass, session_token.
SECRETS = ("credentials", "key", "pass", "password", "password2", "pem", "secret", "token")
# What is hidden beside: values that may be one (--header "Authorization: ...").
_SECRET_WORDS = frozenset(SECRETS) | {
    *("authorization", "cookie", "cookies", "grant", "header", "headers", "passphrase"),
    *("private", "sas"),
}
# These only say where a secret lies, or how it is used.
_HARMLESS_ENDS = frozenset({"agent", "blocks", "file", "path"})
_USER = re.compile(r"://([^/@\s]+)@")
_SECRETS = (
    # https://user:password@host
    (re.compile(r"(\w+://)[^\s/@\"']+@"), r"\1***@"),
    # Presigned URLs are keys by themselves, and no query of a storage API helps anyone.
    (re.compile(r"(\w+://[^\s?\"'<>]+)\?[^\s\"'<>]+"), r"\1?***"),
    (re.compile(r"(?i)\b(authorization: *(?:\w+ )?)[^\s,;]+"), r"\1***"),
    # :s3,secret_access_key=...:bucket
    (
        re.compile(
            r"(?i)\b(\w*(?:secret|pass|token|key|sig|credential)\w*=)(?:'[^']*'|[^\s,:;&'\"]+)"
        ),
        r"\1***",
    ),
)


def without_secrets(text: str) -> str:
    """A text of a program's, or a path of a remote, without the credentials that it may quote."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def redacted(command: Sequence[str]) -> list[str]:
    """A command line in which the values of flags that look secret are `***`, and credentials."""
    shown: list[str] = []
    hide_next = False
    for word in command:
        if hide_next and not word.startswith("--"):
            shown.append(HIDDEN)
            hide_next = False
            continue
        flag, equals, value = word.partition("=")
        secret = _is_secret_flag(flag)
        hide_next = secret and not equals
        shown.append(f"{flag}={HIDDEN}" if secret and value else without_secrets(word))
    return shown


def secrets_in(command: Sequence[str]) -> frozenset[str]:
    """The values that `redacted` hides, so that they can be taken out of other texts."""
    values = set()
    for index, word in enumerate(command):
        flag, equals, value = word.partition("=")
        if _is_secret_flag(flag):
            following = command[index + 1] if index + 1 < len(command) else ""
            values.add(value if equals else "" if following.startswith("--") else following)
        values |= set(_USER.findall(word))
    return frozenset(values - {""})


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """A text without these secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def concealed(url: str) -> str:
    """An address of which only the host is left: the rest of a ping URL is its password."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}/..."


def _is_secret_flag(flag: str) -> bool:
    return flag.startswith("--") and _is_secret(flag)


def _is_secret(name: str) -> bool:
    words = re.split(r"[-_]+", name.lower().strip("-"))
    return words[-1] not in _HARMLESS_ENDS and not _SECRET_WORDS.isdisjoint(words)


def as_typed(command: Sequence[str], names: Iterable[str] | None) -> str:
    """A command as one could type it into a shell, with what it reads; no secrets of its flags."""
    line = shlex.join(redacted(command))
    if names is None:
        return line
    listed = sorted(names)
    return f"printf '%s\\n' {shlex.join(listed)} | {line}" if listed else f"{line} </dev/null"
