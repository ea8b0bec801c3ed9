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
CYCLE = (
    "doctor, report, backup (new, changed, unchanged), vacuum, snapshots, drill,"
    " restore elsewhere and in place"
)


@dataclass(frozen=True)
class Tried:
    """A row of the table."""

    program: str
    version: str
    done: str
    result: str


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
    application.forget(range(1, first))

    writer = Writer(application, SEEDED)
    writer.start()
    try:
        writer.written()
        host.keeper("doctor")
        host.keeper("report", "--tables")
        early, before = _backup(host, "shipped"), writer.last
        writer.written()
        _backup(host, "shipped")
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
    shown = holds(application, first, SEEDED + 20, before)
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
        CYCLE if not application.converts else f"convert, {CYCLE}",
        f"all of {shown - first + 1:,} notes elsewhere and of {latest - first + 1:,} in place are"
        f" there, {application.search} finds them; {freed:,} pages freed; no write failed, the"
        f" slowest took {writer.slowest_ms:,.0f} ms",
    )


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
