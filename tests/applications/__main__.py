"""The command line: `python -m tests.applications [NAME]...`."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import click

from tests.applications.bun import Bun
from tests.applications.chromium import Chromium
from tests.applications.cycle import Tried, locked_cycle, refused_cycle, whole_cycle
from tests.applications.datasette import Datasette
from tests.applications.diskcache import DiskCache
from tests.applications.django import Django
from tests.applications.host import Host, MissingError, new_host
from tests.applications.libsql import LibSQL
from tests.applications.litestream import Litestream
from tests.applications.pocketbase import PocketBase
from tests.applications.spatialite import SpatiaLite
from tests.applications.sqlcipher import SQLCipher
from tests.applications.turso import Turso, TursoMVCC

Try = Callable[[Host], Tried]
APPLICATIONS: dict[str, Try] = {
    "pocketbase": lambda host: whole_cycle(host, PocketBase(host)),
    "litestream": lambda host: whole_cycle(host, Litestream(host)),
    "datasette": lambda host: whole_cycle(host, Datasette(host)),
    "spatialite": lambda host: whole_cycle(host, SpatiaLite(host)),
    "django": lambda host: whole_cycle(host, Django(host)),
    "diskcache": lambda host: whole_cycle(host, DiskCache(host)),
    "libsql": lambda host: whole_cycle(host, LibSQL(host)),
    "bun": lambda host: whole_cycle(host, Bun(host)),
    "chromium": lambda host: locked_cycle(host, Chromium(host)),
    "turso": lambda host: locked_cycle(host, Turso(host)),
    "turso-mvcc": lambda host: refused_cycle(
        host, TursoMVCC(host), "is a Turso database in MVCC mode"
    ),
    "sqlcipher": lambda host: refused_cycle(host, SQLCipher(host), "is encrypted as a whole"),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(APPLICATIONS)))
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, help="So many at once.")
def applications(names: tuple[str, ...], jobs: int) -> None:
    """Try keeper beside real applications; without a name, beside all of them.

    Each is installed into a temporary folder, and skipped with a word where it cannot be
    had. Prints a table in Markdown, and ends with 1 if anything is not as it should be.
    """
    with ThreadPoolExecutor(jobs) as pool:
        rows = list(pool.map(_try_one, names or APPLICATIONS))
    click.echo("| program | version | what was done | result |\n| --- | --- | --- | --- |")
    for row in rows:
        if row:
            click.echo(f"| {row.program} | {row.version} | {row.done} | {row.result} |")
    sys.exit(0 if all(row is None or row.passed for row in rows) else 1)


def _try_one(name: str) -> Tried | None:
    """Its row of the table; None where it cannot be had. What happened is said at once."""
    start = time.monotonic()
    try:
        with new_host() as host:
            row = APPLICATIONS[name](host)
        said = "as it should be"
    except MissingError as missing:
        row, said = None, f"skipped: {missing}"
    except Exception as failure:  # one that fails does not keep the others from being tried
        row, said = Tried(name, "", "", "FAILED", passed=False), f"FAILED: {failure!r}"
    click.echo(f"{name}: {said} ({time.monotonic() - start:.0f} s)", err=True)
    return row


if __name__ == "__main__":
    applications()
