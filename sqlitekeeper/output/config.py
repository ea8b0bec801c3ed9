"""The configuration that keeper.toml resolves to, for people and for programs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from sqlitekeeper.output.printable import printable
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.redaction import concealed, redacted
from sqlitekeeper.wording import span

if TYPE_CHECKING:
    from sqlitekeeper.config import BackupSettings, Config, Database, FileSet, VacuumSettings

# A name, a value: one line, or a section's heading (with no value).
Row = tuple[str, str | None]


def config_rows(
    config: "Config", searched: Sequence[str], rclone: str | None, lines: "Mapping[Database, int]"
) -> list[Row]:
    """Everything that the configuration says or leaves at its default, line by line.

    `rclone` is the program that was found, `lines` has the line of each
    database's entry.
    """
    backup, vacuum = config.backup, config.vacuum
    keeps = {
        key.removeprefix("keep_"): value
        for key, value in _fields(backup).items()
        if key.startswith("keep_") and value
    }
    rows: list[Row] = [
        ("file", str(config.file) if config.file else f"none; looked for: {', '.join(searched)}"),
        ("state", str(config.state)),
        ("rclone", rclone or "not found"),
    ]
    for database in config.databases:
        rows += _database_rows(database, lines.get(database))
    rows += [
        ("vacuum", None),
        ("pages", f"{vacuum.pages:,}" if vacuum.pages else "all free ones"),
        ("max_lock_ms", str(vacuum.max_lock_ms)),
        ("keep_free_pages", f"{vacuum.keep_free_pages:,}"),
        ("optimize", _yes(vacuum.optimize)),
        ("checkpoint", vacuum.checkpoint),
        ("backup", None),
        ("to", ", ".join(backup.to) or "nowhere; `keeper backup` needs --to"),
        ("store", backup.store),
        ("staging", str(backup.staging)),
        ("check", backup.check),
        ("max_age", span(backup.max_age_seconds)),
        ("prune", _yes(backup.prune)),
        ("keep", ", ".join(f"{key} {value}" for key, value in keeps.items()) or "nothing"),
        ("loss_alarm", f"{backup.loss_alarm:.0%}" if backup.loss_alarm else "off"),
    ]
    rows.append(("timeout", f"{backup.timeout_seconds:g} s"))
    if backup.rclone_args:
        rows.append(("rclone_args", " ".join(redacted(backup.rclone_args))))
    for files in config.files:
        rows += _files_rows(files)
    notify = config.notify
    if notify.ping_url or notify.on_failure or notify.on_success:
        rows += [("notify", None), ("commands", ", ".join(notify.commands))]
        if notify.ping_url:
            rows.append(("ping_url", concealed(notify.ping_url)))
        rows += [
            (key, " ".join(_without_secrets(command)))
            for key, command in (
                ("on_failure", notify.on_failure),
                ("on_success", notify.on_success),
            )
            if command
        ]
    return rows


def show_config(console: Console, rows: Sequence[Row]) -> None:
    """Write the rows, aligned, those of a section indented below its heading."""
    if console.quiet:
        return
    width = max(len(name) for name, value in rows if value is not None)
    section = False
    for name, value in rows:
        if value is None:
            section = True
            click.echo(click.style(printable(name), bold=True), color=console.color)
        else:
            indent = "  " if section else ""
            click.echo(printable(f"{indent}{name.ljust(width)}  {value}"))


def config_object(config: "Config", rclone: str | None) -> dict[str, Any]:
    """The configuration but for its databases as JSON's types."""
    notify = config.notify
    return {
        "file": str(config.file) if config.file else None,
        "state": str(config.state),
        "rclone": rclone,
        "vacuum": _fields(config.vacuum),
        "backup": _fields(config.backup) | {"rclone_args": redacted(config.backup.rclone_args)},
        "files": [_fields(files) for files in config.files],
        "notify": {
            "ping_url": concealed(notify.ping_url) if notify.ping_url else None,
            "commands": list(notify.commands),
            "on_failure": _without_secrets(notify.on_failure),
            "on_success": _without_secrets(notify.on_success),
        },
    }


def _without_secrets(command: Sequence[str]) -> list[str]:
    """A command as it may be shown: an address in it may be a secret as a whole."""
    return [
        concealed(word) if word.startswith(("http://", "https://")) else word
        for word in redacted(command)
    ]


def _database_rows(database: "Database", line: int | None) -> list[Row]:
    origin = f"{database.origin} (line {line})" if line else database.origin
    path = str(database.path)
    if database.unmatched:
        path += " (no file matches)"
    return [
        (f"database {database.name}", None),
        ("path", path),
        ("backup", _yes(database.backup)),
        ("optional", _yes(database.optional)),
        ("from", origin),
    ]


def _files_rows(files: "FileSet") -> list[Row]:
    rows: list[Row] = [(f"files {files.name}", None), ("path", str(files.path)), ("to", files.to)]
    if files.exclude:
        rows.append(("exclude", ", ".join(files.exclude)))
    limits = [f"{files.max_delete_files:,} files"] if files.max_delete_files is not None else []
    if not limits or files.max_delete_percent < 100:
        limits.append(f"{files.max_delete_percent:g} %")
    return [*rows, ("max_delete", " or ".join(limits))]


def _fields(settings: "BackupSettings | VacuumSettings | FileSet") -> dict[str, Any]:
    return dataclasses.asdict(settings)


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
