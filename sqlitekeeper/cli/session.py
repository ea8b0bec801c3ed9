"""The parts that every command shares: options, configuration, output, exit status."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlitekeeper.cli.exit_status import combined
from sqlitekeeper.cli.notifications import RunRecord
from sqlitekeeper.config import Config, Database, read_config
from sqlitekeeper.errors import BusyError, ConfigError, KeeperError, as_keeper_error
from sqlitekeeper.events import Event, Listener
from sqlitekeeper.lock_wait import FIRST_SECONDS, LockWait, waits_at_most
from sqlitekeeper.output.json import print_object, results_object
from sqlitekeeper.output.terminal import Console
from sqlitekeeper.result import Result
from sqlitekeeper.workers import in_order

AnyResult = TypeVar("AnyResult", bound=Result)
# For all databases of a run together.
LOCK_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command; `notifies` says whether others may want to hear of it."""

    command: str
    json: bool
    console: Console
    config_file: Path | None
    notifies: bool = False
    record: RunRecord = field(default_factory=RunRecord)

    def config(self) -> Config:
        """Read the configuration, and notify whom it names that the run has begun."""
        self.record.knows_config = True
        try:
            config = read_config(self.config_file, os.environ)
        except ConfigError:
            if self.notifies:
                self.record.unsent_reason = "the configuration could not be read"
            raise
        if self.notifies:
            self.record.begin(self.command, config.notify, self.console.show)
        return config

    def on_event(self, event: Event) -> None:
        """Show what the library says while it works."""
        self.console.show(event)
        self.record.on_event(event)

    def finish(
        self,
        results: Sequence[AnyResult],
        show: Callable[[Console, Sequence[AnyResult]], None],
        hint: str | None = None,
        **more: Any,
    ) -> int:
        """Print the results, and return the exit status that they add up to.

        `hint` is what to do about a failure, where one result is all there is.
        """
        self.console.close()
        code = combined([result.exit_code for result in results])
        failed = [result for result in results if result.exit_code]
        message = (
            f"{len(failed)} of {len(results)} failed: {', '.join(r.name for r in failed)}"
            if len(results) > 1
            else "; ".join(filter(None, (r.reason for r in failed)))
        )
        failures = [(result.name, result.outcome, result.reason) for result in failed]
        if self.json or self.record.is_wanted:
            found = results_object(self.command, results, code, message, more, hint)
            self.record.keep(found, lambda summary: show(summary, results), failures)
            if self.json:
                print_object(found)
        if not self.json:
            show(self.console, results)
        for failure in failures:
            self.console.failure(*failure)
        return code


def run_each(
    databases: Sequence[Database],
    work: Callable[[Database], AnyResult],
    kind: type[AnyResult],
    *,
    must_exist: bool = True,
) -> list[AnyResult]:
    """Do the work on every database; one that fails does not stop the others.

    A database that could not be worked on has a `kind` of result too: "failed", or
    "skipped" where an optional one is absent.
    """
    return [_attempt(database, work, kind, must_exist) for database in databases]


def each_at_once(
    databases: Sequence[Database],
    work: Callable[[Database, Listener], AnyResult],
    kind: type[AnyResult],
    session: Session,
    jobs: int,
    busy: str = "failed",
) -> list[AnyResult]:
    """As `run_each`, with `jobs` databases at once; what `work` says comes in their order.

    Those that somebody has locked are tried again when the others are done, and then waited
    for together; one that stays locked has the outcome `busy`.
    """
    results: dict[int, AnyResult] = {}
    wait, turn = LockWait(LOCK_WAIT_SECONDS), FIRST_SECONDS
    waiting = list(range(len(databases)))

    def attempt(number: int, on_event: Listener) -> bool:
        """Work on one; False where it is to be tried again."""
        is_done = True

        def try_once(one: Database) -> AnyResult:
            nonlocal is_done
            try:
                return work(one, on_event)
            except BusyError as error:
                is_done, code = not wait.goes_on, error.exit_code
                return kind(one.name, one.path, busy, error.full_text, exit_code=code)

        with waits_at_most(turn):
            results[number] = _attempt(databases[number], try_once, kind, must_exist=True)
        return is_done

    while waiting:
        done = in_order(waiting, attempt, jobs, session.on_event)
        waiting = [number for number, is_done in zip(waiting, done, strict=True) if not is_done]
        if waiting:
            turn = wait.turn(len(waiting), jobs)
    return [results[number] for number in range(len(databases))]


def _attempt(
    database: Database,
    work: Callable[[Database], AnyResult],
    kind: type[AnyResult],
    must_exist: bool,
) -> AnyResult:
    try:
        if must_exist and (absent := absence(database)):
            return kind(database.name, database.path, "skipped", absent)
        return work(database)
    except (KeeperError, OSError) as error:
        trouble = as_keeper_error(error)
        code = trouble.exit_code
        return kind(database.name, database.path, "failed", trouble.full_text, exit_code=code)


def absence(database: Database) -> str | None:
    """Why an optional database is skipped, or None when there is one to work on.

    Where it cannot be told, working on it will say why.

    Raises:
        KeeperError: the configuration names a database that is not there.
    """
    if database.unmatched:
        reason = no_match(database)
    elif _is_absent(database.path):
        reason = f"{database.path}: no such file"
    else:
        return None
    if database.optional:
        return reason
    raise KeeperError(reason)


def no_match(database: Database) -> str:
    """The reason of a pattern without any match."""
    return f"{database.path}: no file matches ({database.origin})"


def _is_absent(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
