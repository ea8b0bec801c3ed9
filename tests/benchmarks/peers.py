"""What keeper is measured beside, and where each is found."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from apsw import sqlite_extra

from sqlitekeeper.rclone import program as rclone_program

# What one writes into a cron job: two lines that do the work, and those that a shell needs.
# $1 is the folder of the databases, $2 that of the snapshots, $3 the destination.
SCRIPT = """\
set -eu
rm -f "$2"/*
for database in "$1"/*.sqlite3; do
    sqlite3 "$database" "VACUUM INTO '$2/${database##*/}'"
done
"$RCLONE" sync "$2" "$3" $4
"""

# What an hourly cron job would do.
VACUUM = """\
set -eu
for database in "$1"/*.sqlite3; do
    sqlite3 "$database" "PRAGMA incremental_vacuum(1000); PRAGMA wal_checkpoint(TRUNCATE)"
done
"""

# The least that it takes to have the files twice, whatever is in them.
COPY = 'set -eu\ncp "$1"/*.sqlite3 "$2" && sync "$2"/*\n'


@dataclass(frozen=True)
class Program:
    """A program to measure; `missing` says what to do where it was not found."""

    name: str
    path: str | None
    missing: str


def find_sqlite3() -> Program:
    """SQLite's own shell."""
    return Program(
        "sqlite3", shutil.which("sqlite3"), "sqlite3: not found; apt-get install sqlite3"
    )


def find_rclone() -> Program:
    """The rclone that keeper uses, for all peers."""
    return Program("rclone", rclone_program.find_rclone(None), "")


def find_rsync() -> Program:
    """SQLite's own tool to copy a database that is in use, which apsw brings along."""
    there = sqlite_extra.has("sqlite3_rsync")
    path = str(sqlite_extra.path("sqlite3_rsync")) if there else None
    return Program("sqlite3_rsync", path, "sqlite3_rsync: not in this installation of apsw")


def find_litestream() -> Program:
    """Litestream, which nothing here installs."""
    path = os.environ.get("LITESTREAM") or shutil.which("litestream")
    return Program("litestream", path, "litestream: not found; set $LITESTREAM")


def script(databases: Path, snapshots: Path, to: str, *options: str) -> list[str]:
    """The two shell lines; `snapshots` is kept from one day to the next."""
    return ["sh", "-c", SCRIPT, "script", str(databases), str(snapshots), to, " ".join(options)]


def copy(databases: Path, to: Path) -> list[str]:
    """`cp` of the files, and fsync of the copies."""
    return ["sh", "-c", COPY, "copy", str(databases), str(to)]


def vacuum_script(databases: Path) -> list[str]:
    """The hourly work on each database, by SQLite's shell."""
    return ["sh", "-c", VACUUM, "vacuum", str(databases)]
