"""recipes/datasette: its commands beside a real Datasette where it is installed."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conftest import Keeper, count_rows, pragma, wait_until
from tests.recipes.shell_blocks import recipe, run_shell, shell_blocks

DATASETTE = recipe("datasette")
INIT, PUBLISH, CHECK = shell_blocks("datasette")

needs_datasette = pytest.mark.skipif(
    importlib.util.find_spec("datasette") is None,
    reason="Datasette is missing: pip install datasette",
)

Run = Callable[[str], str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What /srv/datasette stands for."""
    folder = tmp_path / "datasette"
    folder.mkdir()
    config = (DATASETTE / "keeper.toml").read_text()
    (folder / "keeper.toml").write_text(config.replace("/srv/datasette", str(folder)))
    return folder


@pytest.fixture
def run(tmp_path: Path, home: Path) -> Run:
    """Run a block of the README."""

    def run_block(block: str) -> str:
        places = {"/srv/datasette": home, "/tmp/news-snapshot.db": tmp_path / "snapshot.db"}
        done = run_shell(
            block, tmp_path, paths={old: new for old, new in places.items() if old in block}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_block


def scrape(path: Path, rows: int) -> None:
    """Drop a table and fill it anew, as a scraper does each day."""
    connection = apsw.Connection(str(path))
    with connection:
        connection.execute("DROP TABLE IF EXISTS articles").fetchall()
        connection.execute("CREATE TABLE articles (id INTEGER PRIMARY KEY, body TEXT)").fetchall()
        connection.executemany(
            "INSERT INTO articles (body) VALUES (hex(randomblob(450)))", [()] * rows
        )
    connection.close()


Ask = Callable[[str], Any]


@contextmanager
def serving(*arguments: object) -> Iterator[Ask]:
    """A Datasette with some databases; asks it an SQL query of `news`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "datasette", *map(str, arguments), "--port", str(port)]
    server = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(sql: str) -> Any:
        query = urllib.parse.urlencode({"sql": sql, "_shape": "arrayfirst"})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/news/-/query.json?{query}") as answer:
            return json.load(answer)[0]

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers)
        yield ask
    finally:
        server.terminate()
        server.wait()


def test_readme_keeps_and_publishes_a_database(tmp_path: Path, home: Path, run: Run) -> None:
    """From keeper init to a snapshot that is a database as it is."""
    run(INIT)
    path = home / "news.db"
    scrape(path, 6000)
    scrape(path, 1000)
    free = pragma(path, "freelist_count")
    assert free > 1000

    assert "news: fresh" in run(CHECK)
    run(PUBLISH)

    assert pragma(path, "freelist_count") == free - 1000
    assert count_rows(tmp_path / "snapshot.db", "articles") == 1000


def test_internal_database_is_backed_up_under_a_name_of_its_own(home: Path, run: Run) -> None:
    """Where there is one."""
    run(INIT)
    run("cd /srv/datasette && keeper init internal.db && keeper backup")
    said = run("cd /srv/datasette && keeper status")
    assert "datasette_internal: fresh" in said
    assert "news: fresh" in said


@needs_datasette
def test_datasette_answers_while_keeper_works_and_is_not_replaced_under(
    tmp_path: Path, home: Path, run: Run, keeper: Keeper
) -> None:
    """Old rows gone, new rows seen, and a restore only once it has stopped."""
    run(INIT)
    path = home / "news.db"
    scrape(path, 6000)
    with serving(path) as ask:
        assert ask("select count(*) from articles") == 6000
        scrape(path, 1000)
        free = pragma(path, "freelist_count")
        run(CHECK)
        assert pragma(path, "freelist_count") == free - 1000
        assert ask("select count(*) from articles") == 1000
        restore = ("restore", "news", "--replace", "--from", tmp_path / "remote/my-bucket/web1")
        config = ("--config", home / "keeper.toml")
        refused = keeper(*restore, *config)
        assert refused.status == 1
        assert "stop the application first" in refused.err
    assert keeper(*restore, *config).status == 0
