"""Credentials in arguments, which every user of a host can read.

Destinations are also named in logs, in JSON and in keeper's own memory.
"""

import re
from collections.abc import Sequence

from sqlitekeeper.config.quoting import readable
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.redaction import SECRETS

# Not options whose values are names: access_key_id, key_file, bearer_token_command.
_SECRET = re.compile(rf"(?:^|_)(?:{'|'.join(SECRETS)}|sas_url)$")
_PARAMETER = re.compile(r",([\w-]+)=")
_HEADER = re.compile(r"^(authorization|cookie|[\w-]*(?:token|secret|key))\s*:", re.IGNORECASE)

HINT = (
    "put it into rclone.conf (rclone config), or into the environment:"
    " RCLONE_CONFIG_<REMOTE>_<OPTION>"
)


def refuse_credential_in_remote(to: str) -> None:
    """Refuse a remote with a secret among its parameters, `:s3,secret_access_key=...:bucket`.

    Raises:
        ConfigError: names the option, and neither the remote nor the value.
    """
    for option in _PARAMETER.findall(to):
        if _is_secret(option):
            raise ConfigError(f"a destination must hold no credential: {option}", hint=HINT)


def secret_argument(arguments: Sequence[str]) -> str | None:
    """The first of rclone's flags that hands over a secret, as in `--b2-key VALUE`; or None."""
    for flag, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if not flag.startswith("--"):
            continue
        name, _, value = flag.partition("=")
        is_header = name in ("--header", "--header-upload", "--header-download")
        if _is_secret(name) or (is_header and _HEADER.match(value or following)):
            return readable(name)
    return None


def _is_secret(option: str) -> bool:
    return bool(_SECRET.search(option.lstrip("-").replace("-", "_").lower()))
