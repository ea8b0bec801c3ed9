"""What an application has to do here: keep numbered notes, and find them again."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

WORDS = ("acorn", "birch", "cedar", "dogwood", "elder", "fir", "gorse")


def text_of(number: int) -> str:
    """What the note of this number says; about a quarter of a page."""
    return f"note {number} about {word_of(number)} " + f"{number * 7919 % 100003:06d}" * 150


def word_of(number: int) -> str:
    """The one of WORDS that the note of this number holds."""
    return WORDS[number % len(WORDS)]


class Application(ABC):
    """A real program that works on databases in a folder, written to and asked by its own means.

    `databases` are paths in that folder; `search` says by what means `find` finds.
    """

    name: str
    databases: tuple[str, ...] = ("notes.sqlite3",)
    unsaved: tuple[str, ...] = ()
    search: str
    # Whether `keeper convert` has its say before; not where the application undoes it.
    converts = True

    @property
    @abstractmethod
    def version(self) -> str:
        """As it is installed."""

    @abstractmethod
    def open(self, data: Path) -> None:
        """Start it on the databases in a folder, new ones if there are none."""

    @abstractmethod
    def write(self, number: int) -> None:
        """Write the note of a number; it is committed when this returns."""

    @abstractmethod
    def forget(self, numbers: Iterable[int]) -> None:
        """Delete these notes."""

    @abstractmethod
    def notes(self) -> Mapping[int, str]:
        """The text of every note that it has, by number."""

    @abstractmethod
    def find(self, word: str) -> list[int]:
        """The numbers of the notes that its own search finds for a word, ascending."""

    @abstractmethod
    def close(self) -> None:
        """Stop it."""
