"""The command line: `python -m tests.applications [NAME]...`."""

import sys
import time
from collections.abc import Callable

import click

from tests.applications.cycle import Tried, whole_cycle
from tests.applications.datasette import Datasette
from tests.applications.diskcache import DiskCache
from tests.applications.django import Django
from tests.applications.host import FailedError, Host, MissingError, new_host
from tests.applications.pocketbase import PocketBase

Try = Callable[[Host], Tried]
APPLICATIONS: dict[str, Try] = {
    "pocketbase": lambda host: whole_cycle(host, PocketBase(host)),
    "diskcache": lambda host: whole_cycle(host, DiskCache(host)),
    "datasette": lambda host: whole_cycle(host, Datasette(host)),
    "django": lambda host: whole_cycle(host, Django(host)),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(APPLICATIONS)))
def applications(names: tuple[str, ...]) -> None:
    """Try keeper beside real applications; without a name, beside all of them.

    Each is installed into a temporary folder, and skipped with a word where it cannot be
    had. Prints a table in Markdown, and ends with 1 if anything is not as it should be.
    """
    rows, failed = [], False
    for name in names or APPLICATIONS:
        start = time.monotonic()
        try:
            with new_host() as host:
                rows.append(APPLICATIONS[name](host))
            said = "as it should be"
        except MissingError as missing:
            said = f"skipped: {missing}"
        except (FailedError, AssertionError) as failure:
            said, failed = f"FAILED: {failure}", True
        click.echo(f"{name}: {said} ({time.monotonic() - start:.0f} s)", err=True)
    click.echo("| program | version | what was done | result |\n| --- | --- | --- | --- |")
    for row in rows:
        click.echo(f"| {row.program} | {row.version} | {row.done} | {row.result} |")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    applications()
