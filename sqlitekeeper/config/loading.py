"""keeper.toml found and read, and the defaults where there is none."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sqlitekeeper.config.names import this_host
from sqlitekeeper.config.paths import absolute, expand_home, home_folder
from sqlitekeeper.config.position import Source
from sqlitekeeper.config.quoting import readable
from sqlitekeeper.config.schema import parse_document
from sqlitekeeper.config.settings import Config
from sqlitekeeper.errors import ConfigError

FILE_NAME = "keeper.toml"
SEARCHED = (
    "--config",
    "$KEEPER_CONFIG",
    "./keeper.toml",
    "$XDG_CONFIG_HOME/keeper/keeper.toml (or ~/.config/keeper/keeper.toml)",
    "/etc/keeper/keeper.toml",
)

_SYSTEM_CONFIG = Path("/etc/keeper") / FILE_NAME
_SYSTEM_STATE = Path("/var/lib/keeper")


def read_config(
    explicit: Path | None,
    environ: Mapping[str, str],
    *,
    hostname: Callable[[], str] = this_host,
) -> Config:
    """Read the configuration that applies, or the defaults when there is no file.

    `explicit` is what --config names; without it $KEEPER_CONFIG, the working
    folder, the user's and the system's configuration are looked at in turn.

    Raises:
        ConfigError: the file is absent although it was named, cannot be read, or
            says something impossible.
    """
    file = _find(explicit, environ)
    if file is None:
        return Config(file=None, state=_default_state(environ))
    source = Source(file, absolute(file.parent), environ, hostname)
    found = parse_document(_read_toml(file), source)
    state = found.pop("state", None) or _default_state(environ)
    return Config(file=file, state=state, **found)


def _find(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    if explicit is not None:
        return _named(explicit, "--config")
    if named := environ.get("KEEPER_CONFIG"):
        return _named(Path(expand_home(named, environ)), "$KEEPER_CONFIG")
    # lexists: a dangling symlink was put there for a purpose, so it is an error.
    return next((file for file in _places(environ) if os.path.lexists(file)), None)


def _named(file: Path, by: str) -> Path:
    if not os.path.lexists(file):
        raise ConfigError(
            f"{readable(file)}: no such file, or no permission to look for it",
            hint=f"{by} names it",
        )
    return file


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(FILE_NAME)
    if folder := _xdg_folder(environ, "XDG_CONFIG_HOME", ".config"):
        yield folder / FILE_NAME
    yield _SYSTEM_CONFIG


def _xdg_folder(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    """Keeper's folder below an XDG base; a relative base is ignored, as the XDG rules say."""
    base = Path(environ.get(variable, ""))
    if base.is_absolute():
        return base / "keeper"
    home = home_folder(environ)
    return home / default / "keeper" if home else None


def _default_state(environ: Mapping[str, str]) -> Path:
    if named := environ.get("KEEPER_STATE"):
        return absolute(expand_home(named, environ))
    if os.geteuid() == 0:
        return _SYSTEM_STATE
    if folder := _xdg_folder(environ, "XDG_STATE_HOME", ".local/state"):
        return absolute(folder)
    raise ConfigError(
        "no place for keeper's own state: this user has no home folder",
        hint="set $KEEPER_STATE, or state = in keeper.toml",
    )


def _read_toml(file: Path) -> dict[str, object]:
    import tomllib  # only when there is a file to read

    shown = readable(file)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except IsADirectoryError:
        raise ConfigError(f"{shown}: is a folder, not a configuration file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown}: line {line}: is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{shown}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{shown}: {_syntax_complaint(str(error), text)}") from None


def _syntax_complaint(message: str, text: str) -> str:
    """tomllib's message with its place first; the end of the document has a line too."""
    found = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", message, re.DOTALL)
    if not found:
        return f"not valid TOML: {message}"
    place = found[2]
    if place == "end of document":
        lines = text.split("\n")
        place = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    return f"{place}: not valid TOML: {found[1]}"
