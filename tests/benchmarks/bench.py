"""The place that a benchmark works in: a private folder, an S3 server, keeper with no past."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from tests.benchmarks.databases import make_databases
from tests.benchmarks.peers import Program, find_rclone
from tests.benchmarks.processes import Cost, run
from tests.s3_server import S3, s3_server

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MEBIBYTE = 2**20
OLD_SECONDS = 2.5
TARGETS = ("s3", "local")


@dataclass(frozen=True)
class Destination:
    """Where a run puts its copies: `to` for programs, `folder` where its files can be seen."""

    target: str
    name: str
    to: str
    folder: Path


@dataclass
class Bench:
    """A folder that is gone in the end, and the environment that all peers run in."""

    folder: Path
    s3: S3
    environment: dict[str, str]
    notes: list[str] = field(default_factory=list)
    used: int = 0

    def note(self, text: str) -> None:
        """Say something below the tables, once."""
        if text not in self.notes:
            self.notes.append(text)

    def has(self, program: Program) -> bool:
        """Whether a peer is there; if not, the report says so."""
        if program.path is None:
            self.note(program.missing)
        return program.path is not None

    def tell(self, text: str) -> None:
        """Say on standard error what is going on."""
        click.echo(text, err=True)

    def settle(self) -> None:
        """Wait until all is on the disk, so that no run pays for what was before it."""
        os.sync()

    def grow_old(self, paths: Sequence[Path]) -> None:
        """Wait until all was written more than a moment ago.

        Who tells by file times that nothing has changed cannot trust those of the
        last two seconds. In a cron job a day has passed.
        """
        newest = max(path.stat().st_ctime for path in paths)
        time.sleep(max(0, newest + OLD_SECONDS - time.time()))

    def fresh(self, name: str) -> Path:
        """An empty folder; what was there before under this name is gone."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def destination(self, target: str) -> Destination:
        """A place on the S3 server ("s3") or in a folder ("local") that nothing has used before.

        The server remembers for minutes what was in a folder, so no name comes twice.
        """
        self.used += 1
        name = f"destination-{self.used}"
        if target == "s3":
            return Destination(target, name, f"{self.s3.to}/{name}", self.s3.folder / name)
        return Destination(target, name, str(self.folder / name), self.folder / name)

    def drop(self, *names: str) -> None:
        """Remove folders of this bench, and of the bucket."""
        for name in names:
            for path in (self.folder / name, self.s3.folder / name):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all that a benchmark has made, here and in the bucket."""
        kept = {"home", "s3", "s3.log"}
        self.drop(*(path.name for path in self.folder.iterdir() if path.name not in kept))
        self.drop(*(path.name for path in self.s3.folder.iterdir()))
        self.notes.clear()


@dataclass(frozen=True)
class Keeper:
    """The keeper of the running Python, with a configuration and a memory of its own."""

    bench: Bench
    home: Path

    @property
    def staging(self) -> Path:
        """Where its snapshots are made."""
        return self.home / "staging"

    def command(self, *arguments: object) -> list[str]:
        """The command line of a keeper command."""
        return [sys.executable, "-m", "sqlitekeeper", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """With this one's configuration and memory, and nothing of the machine's."""
        return self.bench.environment | {
            "KEEPER_CONFIG": str(self.home / "keeper.toml"),
            "KEEPER_STATE": str(self.home / "state"),
        }

    def run(self, *arguments: object, watch: bool = True, allowed: tuple[int, ...] = (0,)) -> Cost:
        """Run a command to its end, and measure it."""
        return run(
            self.command(*arguments),
            self.environment(),
            self.home,
            staging=self.staging,
            watch=watch,
            allowed=allowed,
        )


def new_keeper(bench: Bench, name: str, databases: Path, to: str | Path) -> Keeper:
    """A keeper that knows the databases of a folder and has never run."""
    home = bench.fresh(name)
    keeper = Keeper(bench, home)
    keeper.staging.mkdir()
    (home / "keeper.toml").write_text(
        f'[[databases]]\npath = "{databases}/*.sqlite3"\n\n'
        f'[backup]\nto = "{to}"\nstaging = "{keeper.staging}"\n'
    )
    return keeper


@contextmanager
def new_bench(parent: Path | None) -> Iterator[Bench]:
    """A bench in a private folder below `parent`, or where temporary files go."""
    with tempfile.TemporaryDirectory(prefix="keeper-benchmark-", dir=parent) as name:
        folder = Path(name)
        with s3_server(folder) as s3:
            home = folder / "home"
            home.mkdir()
            # Installed, keeper's modules are compiled already: here its first run has to keep them.
            dropped = ("KEEPER_", "AWS_", "RCLONE_", "SQLITE_", "XDG_", "PYTHONDONTWRITEBYTECODE")
            inherited = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
            rclone = find_rclone().path
            assert rclone
            environment = inherited | {
                "HOME": str(home),
                "PYTHONPATH": str(REPOSITORY),
                "KEEPER_RCLONE": rclone,
                "RCLONE": rclone,
                "RCLONE_CONFIG": str(home / "rclone.conf"),
                **s3.environment,
            }
            # rclone says each time that it has no configuration file, unless there is an empty one.
            (home / "rclone.conf").touch()
            bench = Bench(folder, s3, environment)
            # Whatever is compiled or looked up once only is not measured.
            make_databases(folder / "first", 1, MEBIBYTE)
            new_keeper(bench, "keeper", folder / "first", folder / "destination").run("backup")
            bench.clear()
            yield bench
