"""What a command needs to have something to do, and what must hold however it has ended."""

import fcntl
import json
import shutil
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlitekeeper.destination.layout import manifest_object, parse_object, snapshot_object
from sqlitekeeper.destination.manifest import encode
from sqlitekeeper.filesystem.checksum import sha256_of
from tests.catalogs import newest
from tests.conftest import Keeper, pragma
from tests.faults.ledger import commit, entries, make_slack, problems_of


def litter(folder: Path) -> set[str]:
    """The private folders of keeper runs in a folder."""
    return {entry.name for entry in folder.iterdir() if entry.name.startswith("keeper-")}


def assert_whole(to: Path) -> None:
    """Every manifest at a destination has its object, and its base if it has one, as it says."""
    marks = {*to.glob("*/*.proven.json"), *to.glob("*/*.failed.json")}
    for paper in {*to.glob("*/*Z*.json")} - marks:
        manifest = json.loads(paper.read_bytes())["snapshot"]
        sha256 = manifest.get("stored_sha256", manifest["sha256"])
        assert sha256_of(to / manifest["object"]) == sha256, paper
        if "base" in manifest:
            assert sha256_of(to / manifest["base"]) == manifest["base_sha256"], paper


def age(to: Path, days: range) -> None:
    """Put snapshots of days before beside the newest at a destination."""
    sound = newest(to)
    manifest = json.loads((to / manifest_object(f"app/{sound.name}")).read_bytes())
    known = parse_object(f"app/{sound.name}")
    assert known is not None
    for day in days:
        key = snapshot_object("app", known.taken_at - timedelta(days=day))
        shutil.copy(sound, to / key)
        manifest["snapshot"]["object"] = key
        (to / manifest_object(key)).write_bytes(encode(manifest))


def forget_set_aside(path: Path) -> None:
    """Delete what restores have set aside."""
    for part in path.parent.glob("*.before-*"):
        part.unlink()


@dataclass
class Scene:
    """A ledger with one snapshot without entries at a destination, of which two are kept."""

    folder: Path
    path: Path
    to: Path
    keeper: Keeper
    _before: set[Path] = field(default_factory=set)
    _wanted: object = None

    def prepare(self, command: str) -> list[object]:
        """Give a command something to do; its arguments."""
        self._before = set(self.to.rglob("*.sqlite3"))
        match command:
            case "init":
                self._wanted = self.path.with_name(f"{time.monotonic_ns()}.sqlite3")
                return ["init", self._wanted]
            case "convert":
                self._wanted = "none" if pragma(self.path, "auto_vacuum") else "incremental"
                return ["convert", self.path, "--yes", "--auto-vacuum", self._wanted]
            case "vacuum":
                make_slack(self.path, 400)
                return ["vacuum", self.path, "--all"]
            case "prune":
                age(self.to, range(1, 8))
                return ["prune"]
            case "restore":
                forget_set_aside(self.path)
                commit(self.path)
                return ["restore", self.path, "--replace"]
            case "undo":
                forget_set_aside(self.path)
                commit(self.path)
                assert self.keeper("restore", self.path, "--replace").status == 0
                return ["restore", self.path, "--undo"]
            case _:
                return ["backup", "--force"]

    def assert_done(self, command: str) -> None:
        """A command has done what it was asked to."""
        match command:
            case "init":
                assert isinstance(self._wanted, Path)
                assert pragma(self._wanted, "auto_vacuum") == 2
            case "convert":
                number = {"none": 0, "incremental": 2}[str(self._wanted)]
                assert pragma(self.path, "auto_vacuum") == number
            case "vacuum":
                assert pragma(self.path, "freelist_count") == 0
            case "prune":
                assert len(list(self.to.rglob("*.sqlite3"))) <= 2
            case "restore" | "undo":
                assert entries(self.path) == (command == "undo")
            case _:
                assert set(self.to.rglob("*.sqlite3")) - self._before

    def assert_sound(self) -> None:
        """The ledger is sound, and the destination whole."""
        assert problems_of(self.path) == []
        assert_whole(self.to)

    def assert_tidy(self) -> None:
        """No private folder, temporary file or held lock is left of any run."""
        assert_tidy(self.folder)


def assert_tidy(folder: Path) -> None:
    """No private folder, temporary file or held lock is left of any run below tmp_path."""
    for name in ("data", "staging", "temporary"):
        assert litter(folder / name) == set()
    left = {file.name: file.read_bytes() for file in (folder / "temporary").iterdir()}
    # With such a file Python tries out whether the folder can be written.
    assert set(left.values()) <= {b"", b"blat"}, left
    for lock in (folder / "state" / "locks").glob("*"):
        with lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
