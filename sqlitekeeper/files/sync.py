"""The sync of one folder by rclone, and what its log says of it."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlitekeeper.database.files import LOG, OF_SQLITE
from sqlitekeeper.files.exclude_rules import exclude_rules
from sqlitekeeper.rclone.client import ATTEMPTS, Rclone, as_folder
from sqlitekeeper.rclone.errors import RcloneError

# Whatever the user's own arguments and environment say: no symlink followed, since none was
# when databases were looked for, and no deletion because of a filter or after an error.
NO_LINKS = ("--copy-links=false", "--links=false")
SAFE = (*NO_LINKS, "--delete-excluded=false", "--ignore-errors=false", "--delete-after")
ANY_NUMBER = -1


@dataclass(slots=True)
class SyncLog:
    """What rclone's log says of one run.

    `links` are symbolic links that were not followed, `limit_reached` is its own
    --max-delete, `failed` what it says an error of.
    """

    uploaded: int = 0
    deleted: int = 0
    limit_reached: bool = False
    links: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    stats: dict[str, Any] = field(default_factory=dict)

    def on_entry(self, entry: dict[str, Any]) -> None:
        """Take one entry of the log."""
        message = str(entry.get("msg"))
        if isinstance(entry.get("stats"), dict):
            self.stats = entry["stats"]
        elif "Copied (" in message:
            self.uploaded += 1
        elif message in ("Deleted", "Moved into backup dir"):
            self.deleted += 1
        elif "--max-delete threshold reached" in message:
            self.limit_reached = True
        elif message.startswith("Can't follow symlink"):
            self.links.add(str(entry.get("object")))
        if entry.get("level") == "error" and "object" in entry:
            self.failed.add(str(entry["object"]))

    def number(self, key: str) -> int:
        """A number of rclone's last statistics."""
        value = self.stats.get(key)
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a sync would do; `before` are the files at the destination that it is about."""

    before: int
    uploads: int
    upload_bytes: int
    deletions: int
    links: int


def _with_sidecars(database: bytes) -> Iterator[bytes]:
    """The path of a database, and of all that may lie beside it."""
    yield database
    yield from (database + os.fsencode(suffix) for suffix in OF_SQLITE)
    yield os.fsencode(Path(os.fsdecode(database)).with_suffix(f".db{LOG}"))


class FolderSync:
    """One folder and its destination, without the user's `exclude` and the databases `left_out`."""

    def __init__(
        self,
        rclone: Rclone,
        folder: Path,
        to: str,
        exclude: Sequence[str],
        left_out: Sequence[bytes],
    ) -> None:
        self._rclone = rclone
        self._folder = folder
        self._source = [*(f"--exclude={pattern}" for pattern in exclude), str(folder)]
        self._target = as_folder(to)
        self._rules = list(exclude_rules(one for path in left_out for one in _with_sidecars(path)))

    def leave(self, names: Sequence[str]) -> None:
        """Neither upload nor delete some files from here on."""
        self._rules += exclude_rules(map(os.fsencode, names))

    def measure(self) -> tuple[int, int]:
        """How many files there are to sync, and their bytes.

        Raises:
            RcloneError: not all of the folder can be read.
        """
        arguments = ["--json", *NO_LINKS, *self._source]
        text = self._rclone.work_on_folder("size", arguments, self._rules, str(self._folder))
        try:
            found = json.loads(text)
            return int(found["count"]), int(found["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise RcloneError(
                f"{self._rclone.program}: its answer to `size` cannot be read ({error})",
                hint="is it really rclone? `rclone version` should say so",
            ) from None

    def foresee(self, *, compare_times: bool) -> Forecast:
        """What a sync would do, by rclone's own dry run.

        What it would delete does not depend on how the rest is compared; to ask
        for modification times costs a call for each object on S3.

        Raises:
            RcloneError: the destination, or a part of the folder, cannot be listed.
        """
        log = SyncLog()
        options = ["--dry-run", "--retries=1", *([] if compare_times else ["--size-only"])]
        self._run("sync", log, options)
        if not {"checks", "deletes"} <= log.stats.keys():
            raise RcloneError(
                "rclone does not say what a sync would delete; nothing was synced",
                hint="see backup.rclone_args in keeper.toml: do they send its log elsewhere?",
            )
        return Forecast(
            # To rclone, what it deletes has been checked too.
            log.number("checks"),
            log.number("transfers"),
            log.number("bytes"),
            log.number("deletes"),
            len(log.links),
        )

    def sync(self, log: SyncLog, most_deletions: int, on_entry: Callable[[], None]) -> None:
        """Make the destination hold what the folder holds; `on_entry` follows each line of `log`.

        `most_deletions` is only the second line of defence: rclone deletes that
        many before it stops.

        Raises:
            RcloneError: not everything was done.
        """
        self._run("sync", log, [f"--max-delete={most_deletions}", *self._for_real()], on_entry)

    def copy(self, log: SyncLog, on_entry: Callable[[], None]) -> None:
        """Upload what can be read, delete nothing.

        Raises:
            RcloneError: not everything was done.
        """
        self._run("copy", log, self._for_real(), on_entry)

    def _for_real(self) -> list[str]:
        """Files come and go while it runs, so it may begin again; nothing is uploaded twice."""
        theirs = "RCLONE_RETRIES" in os.environ or self._given("--retries")
        return ["--dry-run=false", *([] if theirs else [f"--retries={ATTEMPTS}"])]

    def _given(self, option: str) -> bool:
        return any(word.split("=")[0] == option for word in self._rclone.extra)

    def _run(
        self,
        command: str,
        log: SyncLog,
        options: Sequence[str],
        on_entry: Callable[[], None] = lambda: None,
    ) -> None:
        def watch(entry: dict[str, Any]) -> None:
            log.on_entry(entry)
            on_entry()

        # Active Storage has up to 65,536 folders: listed one by one, each is billed.
        listing = [] if self._given("--fast-list") else ["--fast-list"]
        arguments = [*SAFE, *listing, *options, *self._source, self._target]
        self._rclone.work_on_folder(command, arguments, self._rules, self._target, watch)
