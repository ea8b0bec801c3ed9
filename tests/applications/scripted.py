"""Applications that are libraries: a short program that uses one answers lines of JSON."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.applications.application import Application, text_of, word_of
from tests.applications.host import Host, Script


class ScriptedApplication(Application):
    """One whose program, told a folder, knows `write`, `forget`, `notes` and `find`."""

    version = ""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.script: Script
        self.environment = dict(host.environment)
        self.install()

    @abstractmethod
    def install(self) -> None:
        """Get it, or raise MissingError; sets `environment`."""

    @abstractmethod
    def command(self, data: Path) -> Sequence[object]:
        """How its program is started."""

    def open(self, data: Path) -> None:
        """In a process of its own."""
        self.script = self.host.script(self.command(data), self.environment)

    def write(self, number: int) -> None:
        """The library's own write."""
        self.script.ask("write", number, text_of(number), word_of(number))

    def forget(self, numbers: Iterable[int]) -> None:
        """The library's own delete."""
        self.script.ask("forget", list(numbers))

    def notes(self) -> Mapping[int, str]:
        """All that the library reads."""
        return dict(self.script.ask("notes"))

    def find(self, word: str) -> list[int]:
        """All that the library finds."""
        found: list[int] = self.script.ask("find", word)
        return found

    def close(self) -> None:
        """The library's own end."""
        self.script.end()
