"""Findings about rclone and the destinations."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlitekeeper.destination.catalog import BASE_LACKS, DatabaseCatalog
from sqlitekeeper.destination.destination import list_destination
from sqlitekeeper.destination.manifest import Manifest
from sqlitekeeper.destination.metadata import read_manifest, try_metadata
from sqlitekeeper.doctor.finding import (
    INSTALL,
    BackupPlan,
    Finding,
    Level,
    on_host,
    this_user,
    unwritable_reason,
)
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.rclone.client import Rclone
from sqlitekeeper.rclone.program import find_rclone, is_left_out
from sqlitekeeper.rclone.remote_name import is_local
from sqlitekeeper.wording import counted, span

OLDEST_RCLONE = (1, 60)
# What cron gives a job: crontab(5) on Debian.
CRON_PATH = "/usr/bin:/bin"
CLOCK_TOLERANCE = timedelta(minutes=5)


def diagnose_rclone(plan: BackupPlan) -> Iterator[Finding]:
    """rclone, its age, and whether it knows each destination."""
    if plan.to and not plan.files_to and all(map(is_local, plan.to)):
        yield from _folders(plan)
        return
    try:
        rclone = Rclone(
            find_rclone(plan.rclone), plan.rclone_args, timeout_seconds=plan.timeout_seconds
        )
        version = rclone.version()
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        level: Level = "fail" if plan.to else "warn"
        yield on_host(level, "rclone", trouble.message, trouble.hint or INSTALL)
        return
    yield on_host("ok", "rclone", f"{rclone.program}: {version}")
    yield judge_version(rclone.program, version)
    yield _cron_path(plan, rclone.program)
    yield _environment()
    try:
        # Its version is known from before: only what it is asked shows whether it can be.
        known = rclone.remotes()
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        level = "fail" if plan.to else "warn"
        yield on_host(level, "remote", trouble.message, trouble.hint or "rclone config")
        return
    finally:
        rclone.close()
    for to in dict.fromkeys((*plan.to, *plan.files_to)):
        yield _remote(plan, to, known)


def _folders(plan: BackupPlan) -> Iterator[Finding]:
    """Destinations that need no rclone; one that is there knows the names of remotes."""
    known = frozenset[str]()
    with suppress(KeeperError, OSError):
        program = find_rclone(plan.rclone)
        known = Rclone(program, plan.rclone_args, timeout_seconds=plan.timeout_seconds).remotes()
    yield on_host("ok", "rclone", "rclone: not needed for folders of this host")
    for to in dict.fromkeys(plan.to):
        yield _folder(plan, to, known)


def judge_version(program: str, version: str) -> Finding:
    """Whether an rclone of this version, such as "v1.60.1-DEV", is new enough."""
    oldest = ".".join(map(str, OLDEST_RCLONE))
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        message = f"{program}: version {version!r} cannot be read; {oldest} is needed"
        return on_host("warn", "rclone_version", message, INSTALL)
    if (int(numbers[1]), int(numbers[2])) < OLDEST_RCLONE:
        message = f"{program}: is {version}; keeper needs {oldest} or newer"
        return on_host("fail", "rclone_version", message, INSTALL)
    return on_host("ok", "rclone_version", f"{version} is new enough")


def _environment() -> Finding:
    """Variables that rclone would take for flags, by which uploads would land elsewhere."""
    names = sorted(filter(is_left_out, os.environ))
    if not names:
        return on_host("ok", "rclone_environment", "the environment changes nothing about uploads")
    listed = ", ".join(names)
    return on_host(
        "warn",
        "rclone_environment",
        f"{listed}: rclone takes it for a flag that changes what is uploaded, or what it says;"
        " keeper runs rclone without it",
        f"unset {' '.join(map(shlex.quote, names))}  # or, if it is meant, rclone_args in [backup]",
    )


def _cron_path(plan: BackupPlan, program: str) -> Finding:
    """Whether a job of cron's finds an rclone too; it has neither our PATH nor $KEEPER_RCLONE."""
    beside = str(Path(sys.executable).with_name("rclone"))
    tried = [plan.rclone] if plan.rclone else [beside, "rclone"]
    if found := next(filter(None, (shutil.which(one, path=CRON_PATH) for one in tried)), None):
        return on_host("ok", "cron_path", f"cron finds {found}")
    return on_host(
        "warn",
        "cron_path",
        f"{program} is not found with cron's PATH ({CRON_PATH}), nor beside Python",
        f'rclone = "{os.path.abspath(program)}" at the top of {plan.toml}',  # noqa: PTH100
    )


def _remote(plan: BackupPlan, to: str, known: frozenset[str]) -> Finding:
    if is_local(to):
        return _folder(plan, to, known)
    name = re.split("[:,]", to, maxsplit=1)[0]
    # rclone asks the environment first, in capitals, whatever it lists.
    variable = f"RCLONE_CONFIG_{name.upper().replace('-', '_')}_TYPE"
    if not name or name in known or variable in os.environ:
        return on_host("ok", "remote", f"{to}: rclone knows this remote")
    there = f"it knows {', '.join(sorted(known))}" if known else "it knows none"
    return on_host(
        "fail",
        "remote",
        f"{to}: rclone has no remote {name}; {there}, for this user",
        f"rclone config  # make a remote called {name}, as the user that runs keeper",
    )


def _folder(plan: BackupPlan, to: str, known: frozenset[str]) -> Finding:
    """A folder that bears a remote's name, where keeper.toml lies: `to = "b2"` lacks its colon."""
    if plan.file is not None:
        base = Path(os.path.abspath(plan.file)).parent  # noqa: PTH100 (symlinks stay)
        first, _, rest = os.path.relpath(to, base).partition("/")
        section = "[backup]" if to in plan.to else "[[files]]"
        if first in known:
            return on_host(
                "warn",
                "remote",
                f"{to}: is a local folder with the name of the remote {first}; was the colon"
                " forgotten?",
                f'to = "{first}:{rest}" in {section} of {plan.toml}',
            )
    if problem := unwritable_reason(Path(to)):
        fix = f"mount what belongs there, or make it a folder of {this_user()}: {shlex.quote(to)}"
        return on_host("fail", "remote", f"{to}: {problem}", fix)
    return on_host("ok", "remote", f"{to}: a local folder")


def diagnose_remotes(plan: BackupPlan, rclone: Rclone, now: datetime) -> Iterator[Finding]:
    """Ask every destination: does it answer, and does its newest word fit this host's clock?"""
    for to in dict.fromkeys(plan.to):
        destination = list_destination(rclone, to)
        if destination.error:
            error = destination.error
            fix = error.hint or f"rclone lsf {shlex.quote(to)} -vv  # says more"
            yield on_host("fail", "reachable", f"{to}: {error.message}", fix)
            continue
        there = "answers" if destination.listing is not None else "answers; there is nothing yet"
        yield on_host("ok", "reachable", f"{to}: {there}")
        catalogs = destination.catalog.values()
        deltas = judge_deltas(to, catalogs)
        if deltas.level != "ok" or plan.store == "delta":
            yield deltas
        metadata = [catalog.latest for catalog in catalogs if catalog.latest]
        contents, _ = try_metadata(rclone, to, metadata)
        manifests = [read_manifest(entry, contents, to) for entry in metadata]
        said = [one.confirmed_at for one in manifests if isinstance(one, Manifest)]
        yield judge_clock(to, (moment for moment in said if moment), now)


def judge_deltas(to: str, catalogs: Iterable[DatabaseCatalog]) -> Finding:
    """Whether every delta at a destination has its base."""
    lacking = [one for each in catalogs for one in each.snapshots if not one.is_whole]
    if not lacking:
        return on_host("ok", "deltas", f"{to}: every delta there has its base")
    message = f"{to}: {counted(len(lacking), 'delta')}, such as {lacking[0].object}, cannot be"
    message += f" restored: {BASE_LACKS}"
    return on_host("warn", "deltas", message, "keeper backup --force  # ships whole snapshots")


def judge_clock(to: str, confirmed: Iterable[datetime], now: datetime) -> Finding:
    """Whether a destination holds a confirmation from this host's future."""
    newest = max(confirmed, default=None)
    if newest is None or newest <= now + CLOCK_TOLERANCE:
        return on_host("ok", "clock", f"{to}: nothing there is from the future")
    ahead = span((newest - now).total_seconds())
    return on_host(
        "warn",
        "clock",
        f"{to}: was last confirmed at {newest.astimezone(UTC).isoformat(timespec='seconds')},"
        f" {ahead} ahead of this host's clock: one of the clocks is wrong",
        "timedatectl set-ntp true",
    )
