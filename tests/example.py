"""The server of README's examples: an application's databases and uploads, and a B2 bucket."""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from sqlitekeeper.database.measure import Measurement
from sqlitekeeper.state.history import History
from tests.recipes.b2_server import B2, NEEDS, serve_b2

REPOSITORY = Path(__file__).resolve().parent.parent
COLUMNS = 90
PAGE = 4096
CONFIG = """\
[[databases]]
path = "storage/production.sqlite3"
[[databases]]
path = "storage/production_*.sqlite3"
backup = false
[backup]
to = "b2:my-bucket/web1"
staging = "{staging}"
[[files]]
name = "active-storage"
path = "storage"
to = "b2:my-bucket/files"
"""
RAILS = """\
production:
  primary:
    adapter: sqlite3
    database: storage/production.sqlite3
  cache:
    adapter: sqlite3
    database: storage/production_cache.sqlite3
"""
# The paths of the examples that are not below /srv/app too.
PLACES = re.compile(r"(?<![\w/.])/(?:srv|tmp|var/lib)(?=/)")


@dataclass(frozen=True)
class Example:
    """The server: `root` stands for /, the application is in /srv/app."""

    root: Path
    b2: B2

    @property
    def app(self) -> Path:
        """The application's folder."""
        return self.root / "srv" / "app"

    @property
    def database(self) -> Path:
        """Its primary database."""
        return self.app / "storage" / "production.sqlite3"

    def configure(self) -> None:
        """Write keeper.toml, as it is at the start of each example."""
        text = CONFIG.format(staging=self.root / "staging")
        (self.app / "keeper.toml").write_text(text)

    def environment(self) -> dict[str, str]:
        """keeper and rclone on the PATH, `b2:` the bucket, and nothing of this machine's."""
        # Not those that a user's own rclone or keeper go by.
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("KEEPER_", "RCLONE_"))}
        return kept | {
            "PATH": f"{self.root}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(self.root / "home"),
            "XDG_CONFIG_HOME": str(self.root / "home" / ".config"),
            "XDG_CACHE_HOME": str(self.root / "home" / ".cache"),
            "KEEPER_STATE": str(self.root / "state"),
            "RCLONE_CONFIG": str(self.root / "rclone.conf"),
            "RCLONE_CONFIG_B2_TYPE": "b2",
            "RCLONE_CONFIG_B2_ACCOUNT": "account-1",
            "RCLONE_CONFIG_B2_KEY": "key",
            "RCLONE_CONFIG_B2_ENDPOINT": f"http://127.0.0.1:{self.b2.port}",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "COLUMNS": str(COLUMNS),
        }

    def run(self, script: str) -> tuple[int, str]:
        """Run a shell script in the application's folder on a terminal; its status and output.

        Absolute paths in it are below `root`, and stand in the output as in the script.
        """
        script = PLACES.sub(lambda found: f"{self.root}{found[0]}", script)
        master, slave = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-uc", script],
            cwd=self.app,
            env=self.environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        said = b""
        while True:
            try:
                said += os.read(master, 2**16)
            except OSError:  # how Linux says that nobody has the other side open any more
                break
            if said.endswith(b"[y/N]: "):
                os.write(master, b"y\n")
        os.close(master)
        return process.wait(120), said.decode().replace(str(self.root), "").replace("\r\n", "\n")

    def grow_old(self) -> None:
        """Some months go by: the databases fill up, and some of what was in them is deleted."""
        _fill(self.database)
        for name, mode in (("cache", "incremental"), ("errors", "none")):
            path = self.database.with_stem(f"production_{name}")
            connection = apsw.Connection(str(path))
            connection.execute(f"PRAGMA auto_vacuum = {mode}; PRAGMA journal_mode = wal").fetchall()
            _add_blobs(connection, "entries", 12_000 if name == "cache" else 2_800)
            if name == "cache":
                connection.execute("DELETE FROM entries WHERE id < 8000").fetchall()
            connection.close()
        history = History(self.root / "state")
        now = datetime.now(UTC)
        for days in range(30, 0, -1):
            measured = []
            for name, bytes_a_day in (("", 953_000), ("_cache", 0), ("_errors", 37_500)):
                path = self.database.with_stem(f"production{name}")
                pages = (path.stat().st_size - days * bytes_a_day) // PAGE
                found = Measurement(
                    bytes=pages * PAGE,
                    page_size=PAGE,
                    pages=pages,
                    free_pages=pages * 7 // 20,
                    wal_bytes=0,
                    journal_mode="wal",
                    auto_vacuum="none" if name == "_errors" else "incremental",
                )
                measured.append((path, found))
            history.add_samples(measured, now - timedelta(days=days))

    def write(self) -> None:
        """The application goes on, with a newer SQLite than that of a Debian's sqlite3."""
        connection = apsw.Connection(str(self.database))
        connection.execute("DELETE FROM visits WHERE id > 13900").fetchall()
        connection.close()

    def add_uploads(self) -> None:
        """Users upload files; most of them have been synced before, and two are gone since."""
        folder = self.app / "storage" / "ab"
        folder.mkdir()
        for number in range(60):
            (folder / f"{number:04}.jpg").write_bytes(b"a picture" * 900)
        status, said = self.run("keeper files --quiet")
        assert status == 0, said
        for number in range(2):
            (folder / f"{number:04}.jpg").unlink()
        for number in range(200, 237):
            (folder / f"{number:04}.jpg").write_bytes(b"a picture" * 900)


def _add_blobs(connection: apsw.Connection, table: str, rows: int) -> None:
    """A table in which a row takes about a quarter of a page."""
    connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, body BLOB)").fetchall()
    with connection:
        connection.executemany(
            f"INSERT INTO {table} (body) VALUES (randomblob(?))", [(900,) for _ in range(rows)]
        )


def _fill(path: Path) -> None:
    """Articles with an index and a search, and visits, most of which are deleted again."""
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE articles (id INTEGER PRIMARY KEY, slug TEXT, body TEXT);"
        "CREATE INDEX articles_slug ON articles (slug);"
        "CREATE VIRTUAL TABLE search USING fts5 (body)"
    ).fetchall()
    with connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16000)"
            " INSERT INTO articles (slug, body)"
            " SELECT 'an-article-' || i, hex(randomblob(450)) FROM n"
        ).fetchall()
        connection.execute(
            "INSERT INTO search (body) SELECT 'word' || id % 500 || ' of article ' || id"
            " FROM articles WHERE id <= 4000"
        ).fetchall()
    _add_blobs(connection, "visits", 14_000)
    connection.execute("DELETE FROM visits WHERE id <= 12000").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


@contextmanager
def example() -> Iterator[Example]:
    """The server on the day on which it is set up: no database yet."""
    # In a place that doctor has nothing against.
    with (
        tempfile.TemporaryDirectory(prefix="k", dir="/var/tmp") as name,
        serve_b2(frozenset(need for need in NEEDS.values() if need)) as b2,
    ):
        root = Path(name)
        one = Example(root, b2)
        for folder in ("bin", "staging", "tmp", "home/.config/fish", "srv/app/storage"):
            (root / folder).mkdir(parents=True)
        for folder in ("srv/app/config", "var/lib/node_exporter/textfile"):
            (root / folder).mkdir(parents=True)
        script = root / "bin" / "keeper"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sqlitekeeper "$@"\n')
        script.chmod(0o755)
        if not shutil.which("sqlite3"):
            (root / "bin" / "sqlite3").symlink_to(Path(sys.executable).with_name("apsw"))
        (root / "srv" / "app" / "config" / "database.yml").write_text(RAILS)
        one.configure()
        yield one
