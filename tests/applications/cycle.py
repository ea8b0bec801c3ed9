"""keeper's whole cycle beside an application that writes, and what is there afterwards."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.applications.application import WORDS, Application, text_of, word_of
from tests.applications.host import WAIT_SECONDS, FailedError, Host

SEEDED = 600
FORGOTTEN = 300
PACE_SECONDS = 0.01
CYCLE = "the whole cycle"


@dataclass(frozen=True)
class Tried:
    """A row of the table."""

    program: str
    version: str
    done: str
    result: str
    passed: bool = True


class Writer(threading.Thread):
    """Writes note after note, and knows which of them are acknowledged."""

    def __init__(self, application: Application, last: int) -> None:
        super().__init__(daemon=True)
        self.last = last
        self.slowest_ms = 0.0
        self.error: Exception | None = None
        self._application = application
        self._turn = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        """Until it is ended, or a write fails."""
        while not self._ended.wait(PACE_SECONDS) and self.error is None:
            with self._turn:
                start = time.monotonic()
                try:
                    self._application.write(self.last + 1)
                except Exception as error:  # told by `check`
                    self.error = error
                    return
                self.slowest_ms = max(self.slowest_ms, (time.monotonic() - start) * 1000)
                self.last += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The application runs and nobody writes."""
        with self._turn:
            yield
        self.check()

    def written(self, more: int = 20) -> None:
        """Wait until so many more notes are acknowledged."""
        enough = self.last + more
        deadline = time.monotonic() + WAIT_SECONDS
        while self.last < enough:
            self.check()
            if time.monotonic() > deadline:
                raise FailedError("the application's writes do not get on")
            time.sleep(0.01)

    def check(self) -> None:
        """No write has failed."""
        if self.error is not None:
            raise FailedError(f"a write of the application failed: {self.error}")

    def end(self) -> None:
        """Stop writing."""
        self._ended.set()
        self.join()
        self.check()


def holds(application: Application, first: int, at_least: int, at_most: int) -> int:
    """Every note from `first` on without a gap, found by word as well; the number of the last."""
    notes = application.notes()
    last = max(notes, default=0)
    if sorted(notes) != list(range(first, last + 1)) or not at_least <= last <= at_most:
        raise FailedError(
            f"{application.name} has {len(notes)} notes up to {last};"
            f" expected {first} to {at_least} (or to {at_most} at most), without a gap"
        )
    if wrong := [number for number, text in notes.items() if text != text_of(number)]:
        raise FailedError(f"{application.name} has other texts in the notes {wrong[:5]}")
    for word in WORDS:
        found = application.find(word)
        expected = [number for number in sorted(notes) if word_of(number) == word]
        if found != expected:
            raise FailedError(
                f"{application.search} of {application.name} finds {len(found)} notes of"
                f" {word}, not {len(expected)}"
            )
    return last


def whole_cycle(host: Host, application: Application) -> Tried:
    """Everything that keeper does for it; FailedError where it is not as it should be."""
    data, elsewhere = host.folder / "data", host.folder / "elsewhere"
    data.mkdir()
    host.configure(data, application.databases, application.unsaved)
    first = FORGOTTEN + 1
    application.open(data)
    for number in range(1, SEEDED + 1):
        application.write(number)
    if application.converts:
        application.close()
        host.keeper("convert", "--yes", *(data / one for one in application.databases))
        application.open(data)
        holds(application, 1, SEEDED, SEEDED)

    writer = Writer(application, SEEDED)
    writer.start()
    try:
        writer.written()
        host.keeper("doctor")
        host.keeper("report", "--tables")
        early, before = _backup(host, "shipped"), writer.last
        writer.written()
        _backup(host, "shipped")
        with writer.paused():
            application.forget(range(1, first))
        freed = sum(one["freed_pages"] for one in host.keeper("vacuum", "--json").json["databases"])
        writer.written()
        with writer.paused():
            _backup(host, "shipped")
            latest = writer.last
            _backup(host, "unchanged")
        host.keeper("snapshots")
        host.keeper("drill")
        for one in application.databases:
            host.keeper("restore", name_of(one), "--replace", "--yes", status=1)
        writer.written()
    finally:
        writer.end()
    holds(application, first, writer.last, writer.last)
    application.close()

    for one in application.databases:
        (elsewhere / one).parent.mkdir(parents=True, exist_ok=True)
        host.keeper("restore", name_of(one), "--at", early[name_of(one)], "--to", elsewhere / one)
    application.open(elsewhere)
    # The snapshot was taken while it wrote, after SEEDED and the notes that were waited for.
    shown = holds(application, 1, SEEDED + 20, before)
    application.close()

    for one in application.databases:
        host.keeper("restore", name_of(one), "--replace", "--yes")
    application.open(data)
    holds(application, first, latest, latest)
    application.write(latest + 1)
    holds(application, first, latest + 1, latest + 1)
    application.close()
    return Tried(
        application.name,
        application.version,
        f"convert, {CYCLE}" if application.converts else CYCLE,
        f"all {shown:,} notes are there elsewhere and all {latest - first + 1:,} in place, found by"
        f" {application.search}; {freed:,} pages freed; no write failed, the slowest took"
        f" {writer.slowest_ms:,.0f} ms",
    )


def locked_cycle(host: Host, application: Application, seeded: int = 200) -> Tried:
    """The application's lock lasts as long as it runs: keeper says so, and has its turn after."""
    data, elsewhere = host.folder / "data", host.folder / "elsewhere"
    data.mkdir()
    application.open(data)
    for number in range(1, seeded + 1):
        application.write(number)
    host.configure(data, application.databases, application.unsaved)
    start = time.monotonic()
    host.keeper("doctor", status=None)
    host.keeper("report", status=None)
    said = host.keeper("backup", status=None)
    if said.status not in (1, 3) or "locked" not in said.err:
        raise FailedError(f"backup does not say that it is locked: {said.err}")
    host.keeper("vacuum", status=None)
    seconds = time.monotonic() - start
    application.write(seeded + 1)
    last = holds(application, 1, seeded + 1, seeded + 1)
    application.close()

    host.keeper("doctor")
    host.keeper("report", "--tables")
    host.keeper("vacuum")
    _backup(host, "shipped")
    _backup(host, "unchanged")
    host.keeper("snapshots")
    host.keeper("drill")
    application.open(data)
    application.write(last + 1)
    for one in application.databases:
        host.keeper("restore", name_of(one), "--replace", "--yes", status=1)
    application.close()
    for one in application.databases:
        (elsewhere / one).parent.mkdir(parents=True, exist_ok=True)
        host.keeper("restore", name_of(one), "--to", elsewhere / one)
        host.keeper("restore", name_of(one), "--replace", "--yes")
    for folder in (elsewhere, data):
        application.open(folder)
        holds(application, 1, last, last)
        application.write(last + 1)
        holds(application, 1, last + 1, last + 1)
        application.close()
    return Tried(
        application.name,
        application.version,
        f"doctor, report, backup and vacuum; {CYCLE} while it is stopped",
        f"as long as it runs, keeper says that it is locked ({seconds:.0f} s for all four), and no"
        f" write failed; then all {last:,} notes are there elsewhere and in place, found by"
        f" {application.search}",
    )


def refused_cycle(host: Host, application: Application, sentence: str) -> Tried:
    """SQLite cannot read it: keeper says why, and changes nothing."""
    data = host.folder / "data"
    data.mkdir()
    host.configure(data, application.databases)
    application.open(data)
    for number in range(1, 101):
        application.write(number)
    before = _listing(data)
    commands = ("doctor", "report", "backup", "vacuum", "convert")
    for command in commands:
        paths = [data / one for one in application.databases] if command == "convert" else []
        yes = ["--yes"] if command == "convert" else []
        said = host.keeper(command, *paths, *yes, status=None)
        if said.status not in (1, 12) or sentence not in said.out + said.err:
            raise FailedError(f"keeper {command}: {said.status}: {said.out}{said.err}")
        if _listing(data) != before:
            raise FailedError(f"keeper {command} has changed {sorted(_listing(data))}")
    application.write(101)
    holds(application, 1, 101, 101)
    application.close()
    application.open(data)
    holds(application, 1, 101, 101)
    application.close()
    return Tried(
        application.name,
        application.version,
        ", ".join(commands),
        f'each says that it "{sentence}"; no byte is changed, and all 101 notes are there',
    )


def _listing(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time and bytes of each file in a folder, by name."""
    return {
        one.name: (one.stat().st_ino, one.stat().st_mtime_ns, one.read_bytes())
        for one in folder.iterdir()
    }


def name_of(database: str) -> str:
    """As keeper calls it."""
    return Path(database).stem


def _backup(host: Host, outcome: str) -> dict[str, str]:
    """Back up, expect the outcome of each database, and return the snapshots by name."""
    entries = host.keeper("backup", "--json").json["databases"]
    for one in entries:
        if one["outcome"] != outcome:
            raise FailedError(f"backup of {one['name']}: {one['outcome']}, not {outcome}: {one}")
    return {one["name"]: one["shipped"][0]["object"] for one in entries}
