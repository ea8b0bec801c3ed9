"""What is risky about this host and its backups: rclone, staging, state, destinations.

Nothing is changed, and nothing leaves the host but in `diagnose_remotes`, which
lists each destination once.
"""

import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlitekeeper.backups.catalog import read_shelves
from sqlitekeeper.backups.destination import look
from sqlitekeeper.backups.local_folder import is_local
from sqlitekeeper.backups.papers import read_manifest, try_papers
from sqlitekeeper.backups.rclone import TIMEOUT_SECONDS, Rclone
from sqlitekeeper.backups.rclone_program import find_rclone
from sqlitekeeper.backups.untrusted import Manifest
from sqlitekeeper.database.diagnosis import memory_filesystem
from sqlitekeeper.database.files import free_bytes
from sqlitekeeper.database.findings import Finding, Level
from sqlitekeeper.errors import KeeperError, as_keeper_error
from sqlitekeeper.state.history import History, Shipment
from sqlitekeeper.wording import size, span

OLDEST_RCLONE = (1, 60)
# What cron gives a job: crontab(5) on Debian.
CRON_PATH = "/usr/bin:/bin"
CLOCK_TOLERANCE = timedelta(minutes=5)
# Solid Cache, Queue and Cable of Rails 8, and whoever names theirs alike.
SELDOM_WORTH = frozenset({"cache", "queue", "cable"})
INSTALL = "pip install 'sqlitekeeper[rclone]', or: apt-get install rclone"


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What the configuration says about backups; `file` is None without one.

    `databases` are the names of those that are to be backed up, `largest_bytes`
    is what a snapshot of the largest of them takes. `files_to` is where the
    folders beside them are synced to.
    """

    file: Path | None
    to: tuple[str, ...]
    staging: Path
    state: Path
    rclone: str | None
    rclone_args: tuple[str, ...]
    max_age_seconds: float
    databases: tuple[str, ...]
    largest_bytes: int = 0
    timeout_seconds: float = TIMEOUT_SECONDS
    files_to: tuple[str, ...] = ()

    @property
    def toml(self) -> str:
        """The configuration file, as a fix names it."""
        return str(self.file or "keeper.toml")


def diagnose_host(plan: BackupPlan) -> list[Finding]:
    """What can be said of the host without asking anyone else."""
    findings = [_state(plan), *_staging(plan), _destination(plan)]
    findings += _rclone(plan)
    findings += [_worth(plan, name) for name in plan.databases]
    return findings


def _host(level: Level, check: str, message: str, fix: str | None = None) -> Finding:
    return Finding(level, None, check, message, fix)


def _unwritable(folder: Path) -> str | None:
    """Why this user can put nothing into a folder, which may still have to be made."""
    if folder.is_dir():
        can = os.access(folder, os.W_OK | os.X_OK)
        return None if can else "this user cannot write to it"
    above = next((one for one in folder.parents if one.exists()), Path("/"))
    if os.path.lexists(folder) or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return "does not exist, and this user cannot make it"
    return None


def _state(plan: BackupPlan) -> Finding:
    folder = plan.state
    quoted = shlex.quote(str(folder))
    if problem := _unwritable(folder):
        make = f"chown -R {_me()}" if folder.is_dir() else f"install -d -m 700 -o {_me()}"
        fix = f'{make} {quoted}, or state = "..." in {plan.toml}'
        return _host("fail", "state", f"{folder}: state folder: {problem}", fix)
    if folder.is_dir():
        if folder.stat().st_mode & 0o002:
            message = f"{folder}: state folder: everyone may write to it"
            return _host("fail", "state", message, f"chmod 700 {quoted}")
        return _host("ok", "state", f"{folder}: can be written")
    return _host("ok", "state", f"{folder}: will be made by the first run")


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _staging(plan: BackupPlan) -> Iterator[Finding]:
    folder = plan.staging
    other = f'staging = "/another/folder" in [backup] of {plan.toml}'
    if not folder.is_dir():
        message = f"{folder}: staging folder: there is none"
        yield _host("fail", "staging", message, f"mkdir -p {shlex.quote(str(folder))}")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield _host("fail", "staging", f"{folder}: this user cannot write to it", other)
        return
    yield _host("ok", "staging", f"{folder}: can be written")
    if memory := memory_filesystem(folder):
        message = f"{folder}: lies on {memory}: snapshots would take up memory"
        yield _host("warn", "staging_memory", message, other)
    else:
        yield _host("ok", "staging_memory", f"{folder}: lies on a disk")
    free = free_bytes(folder)
    if free < plan.largest_bytes:
        message = (
            f"{folder}: has {size(free)} left, a snapshot of the largest database takes"
            f" {size(plan.largest_bytes)}"
        )
        yield _host("fail", "staging_space", message, f"make room there, or {other}")
    else:
        yield _host("ok", "staging_space", f"{folder}: {size(free)} left")


def _destination(plan: BackupPlan) -> Finding:
    if plan.to:
        return _host("ok", "destination", f"backups go to {', '.join(plan.to)}")
    return _host(
        "warn",
        "destination",
        "no destination is configured: without --to, nothing is backed up",
        f'to = "b2:my-bucket/{{hostname}}" in [backup] of {plan.toml}',
    )


def _rclone(plan: BackupPlan) -> Iterator[Finding]:
    try:
        rclone = Rclone(
            find_rclone(plan.rclone), plan.rclone_args, timeout_seconds=plan.timeout_seconds
        )
        version = rclone.version()
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        level: Level = "fail" if plan.to else "warn"
        yield _host(level, "rclone", trouble.message, trouble.hint or INSTALL)
        return
    yield _host("ok", "rclone", f"{rclone.program}: {version}")
    yield judge_version(rclone.program, version)
    yield _cron_path(plan, rclone.program)
    if not plan.to:
        return
    try:
        known = rclone.remotes()
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        yield _host("fail", "remote", trouble.message, trouble.hint or "rclone config")
        return
    for to in dict.fromkeys((*plan.to, *plan.files_to)):
        yield _remote(plan, to, known)


def judge_version(program: str, version: str) -> Finding:
    """Whether an rclone of this version, such as "v1.60.1-DEV", is new enough."""
    oldest = ".".join(map(str, OLDEST_RCLONE))
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers is None:
        message = f"{program}: version {version!r} cannot be read; {oldest} is needed"
        return _host("warn", "rclone_version", message, INSTALL)
    if (int(numbers[1]), int(numbers[2])) < OLDEST_RCLONE:
        message = f"{program}: is {version}; keeper needs {oldest} or newer"
        return _host("fail", "rclone_version", message, INSTALL)
    return _host("ok", "rclone_version", f"{version} is new enough")


def _cron_path(plan: BackupPlan, program: str) -> Finding:
    """Whether a job of cron's finds an rclone too; it has neither our PATH nor $KEEPER_RCLONE."""
    beside = str(Path(sys.executable).with_name("rclone"))
    tried = [plan.rclone] if plan.rclone else [beside, "rclone"]
    if found := next(filter(None, (shutil.which(one, path=CRON_PATH) for one in tried)), None):
        return _host("ok", "cron_path", f"cron finds {found}")
    return _host(
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
        return _host("ok", "remote", f"{to}: rclone knows this remote")
    there = f"it knows {', '.join(sorted(known))}" if known else "it knows none"
    return _host(
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
            return _host(
                "warn",
                "remote",
                f"{to}: is a local folder with the name of the remote {first}; was the colon"
                " forgotten?",
                f'to = "{first}:{rest}" in {section} of {plan.toml}',
            )
    if problem := _unwritable(Path(to)):
        fix = f"mount what belongs there, or make it a folder of {_me()}: {shlex.quote(to)}"
        return _host("fail", "remote", f"{to}: {problem}", fix)
    return _host("ok", "remote", f"{to}: a local folder")


def _worth(plan: BackupPlan, name: str) -> Finding:
    if SELDOM_WORTH.isdisjoint(re.split(r"[^a-z]+", name.lower())):
        return Finding("ok", name, "worth_backup", "is worth a backup, by its name")
    return Finding(
        "warn",
        name,
        "worth_backup",
        "is backed up, and is by its name a cache or a queue: usually not worth it",
        f"backup = false in its [[databases]] of {plan.toml}",
    )


def diagnose_freshness(plan: BackupPlan, paths: Mapping[str, Path], now: datetime) -> list[Finding]:
    """How old the last backup of each database is, by what this host remembers.

    The destinations are not asked, so another host's backups do not count.
    """
    if not plan.to:
        return []
    try:
        shipments = History(plan.state).shipments()
    except (KeeperError, OSError, ValueError) as error:
        trouble = as_keeper_error(error) if isinstance(error, (KeeperError, OSError)) else None
        message = f"no history: {trouble.message if trouble else error}"
        return [_host("warn", "last_backup", message, trouble.hint if trouble else None)]
    return [
        _freshness(plan, name, path, [shipments.get((to, name)) for to in plan.to], now)
        for name, path in paths.items()
    ]


def _freshness(
    plan: BackupPlan, name: str, path: Path, shipments: Sequence[Shipment | None], now: datetime
) -> Finding:
    fix = f"keeper backup {shlex.quote(name)}"
    lacking = [to for to, one in zip(plan.to, shipments, strict=True) if one is None]
    if lacking:
        message = f"this host remembers no backup at {', '.join(lacking)}"
        return Finding("warn", name, "last_backup", message, fix)
    oldest = min(_last_seen(one.manifest) for one in shipments if one)
    age = (now - oldest).total_seconds()
    if age <= plan.max_age_seconds:
        return Finding("ok", name, "last_backup", f"the last backup is {span(age)} old")
    if _last_change(path) < oldest.timestamp():
        message = f"has not changed since the last backup, {span(age)} ago"
        return Finding("ok", name, "last_backup", message)
    message = (
        f"the last backup that this host remembers is {span(age)} old, max_age is"
        f" {span(plan.max_age_seconds)}; keeper status asks the destination"
    )
    return Finding("warn", name, "last_backup", message, fix)


def _last_seen(manifest: Mapping[str, Any]) -> datetime:
    """When a snapshot was last confirmed to be what the database holds, or else taken."""
    return datetime.fromisoformat(manifest.get("confirmed_at") or manifest["taken_at"])


def _last_change(path: Path) -> float:
    """When a database or its WAL was last written, in seconds since 1970."""
    times = []
    for suffix in ("", "-wal"):
        try:
            times.append(Path(os.path.realpath(path) + suffix).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def diagnose_remotes(plan: BackupPlan, rclone: Rclone, now: datetime) -> Iterator[Finding]:
    """Ask every destination: does it answer, and does its newest word fit this host's clock?"""
    for to in dict.fromkeys(plan.to):
        destination = look(rclone, to)
        if destination.error:
            error = destination.error
            fix = error.hint or f"rclone lsf {shlex.quote(to)} -vv  # says more"
            yield _host("fail", "reachable", f"{to}: {error.message}", fix)
            continue
        there = "answers" if destination.listing is not None else "answers; there is nothing yet"
        yield _host("ok", "reachable", f"{to}: {there}")
        shelves = read_shelves(to, (destination.listing or {}).values()).values()
        papers = [shelf.latest for shelf in shelves if shelf.latest]
        contents, _ = try_papers(rclone, to, papers)
        manifests = [read_manifest(paper, contents, to) for paper in papers]
        said = [one.confirmed_at for one in manifests if isinstance(one, Manifest)]
        yield judge_clock(to, (moment for moment in said if moment), now)


def judge_clock(to: str, confirmed: Iterable[datetime], now: datetime) -> Finding:
    """Whether a destination holds a confirmation from this host's future."""
    newest = max(confirmed, default=None)
    if newest is None or newest <= now + CLOCK_TOLERANCE:
        return _host("ok", "clock", f"{to}: nothing there is from the future")
    ahead = span((newest - now).total_seconds())
    return _host(
        "warn",
        "clock",
        f"{to}: was last confirmed at {newest.astimezone(UTC).isoformat(timespec='seconds')},"
        f" {ahead} ahead of this host's clock: one of the clocks is wrong",
        "timedatectl set-ntp true",
    )
