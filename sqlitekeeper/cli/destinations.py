"""The destinations that a command works on, and the rclone that reaches them."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

from sqlitekeeper.cli.session import Session
from sqlitekeeper.config import Config, local_folder
from sqlitekeeper.destination.retention import Policy
from sqlitekeeper.errors import ConfigError
from sqlitekeeper.events import Level, Note
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone


def chosen(config: Config, given: Sequence[str], option: str = "--from") -> tuple[str, ...]:
    """The destinations that the command line gives, else the configured ones; each once.

    `option` is how the command line gives one.

    Raises:
        ConfigError: there is none, or one that cannot be.
    """
    destinations = tuple(local_folder(one, Path.cwd()) for one in given) or config.backup.to
    if not destinations:
        raise ConfigError(
            "no destination",
            hint=f'add {option} REMOTE, or to = "..." to [backup] in keeper.toml;'
            " a local folder works too",
        )
    return tuple(dict.fromkeys(destinations))


def make_rclone(session: Session, config: Config) -> Rclone:
    """The rclone to use, with the configuration's own arguments; --verbose shows what it is asked.

    It is looked for when a remote is to be reached: folders need none.
    """

    def say_command(command: str) -> None:
        session.on_event(Note("", command, Level.DETAIL))

    return Rclone(
        partial(find_rclone, config.rclone),
        config.backup.rclone_args,
        say_command,
        timeout_seconds=config.backup.timeout_seconds,
    )


def retention_policy(config: Config) -> Policy:
    """The rules of `[backup]` that say which snapshots stay."""
    return Policy(**{rule.name: getattr(config.backup, rule.name) for rule in fields(Policy)})
