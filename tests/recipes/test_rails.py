"""recipes/rails: its commands on its database.yml, its job by a real Ruby where there is one."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.conftest import contents, count_rows, pragma
from tests.recipes.shell_blocks import BIN, recipe, run_shell, shell_blocks
from tests.recipes.strict_yaml import read_yaml

RAILS = recipe("rails")
README = (RAILS / "README.md").read_text()
INIT, CONFIGURE, FILES, CHECK = shell_blocks("rails")
ROLES = ["production", "production_cache", "production_queue", "production_cable"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

needs_ruby = pytest.mark.skipif(
    shutil.which("ruby") is None, reason="ruby is missing: apt-get install ruby"
)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application's folder, as far as this recipe goes."""
    folder = tmp_path / "app"
    shutil.copytree(RAILS / "config", folder / "config")
    return folder


@pytest.fixture
def run(tmp_path: Path, app: Path) -> Run:
    """Run a block of the README in this application."""

    def run_block(block: str) -> "subprocess.CompletedProcess[str]":
        done = run_shell(block, tmp_path, paths={"/srv/app": app})
        assert done.returncode == 0, done.stderr
        return done

    return run_block


# Rails' own, in its order: DEFAULT_PRAGMAS of its SQLite adapter.
PRAGMAS = {
    "foreign_keys": "on",
    "journal_mode": "wal",
    "synchronous": "normal",
    "mmap_size": "134217728",
    "journal_size_limit": "67108864",
    "cache_size": "2000",
}


def work_like_rails(path: Path, *, rows: int, deleted: int, **pragmas: str) -> None:
    """Open a file with the pragmas that Rails sets, and load a schema into it."""
    connection = apsw.Connection(str(path))
    for name, value in (PRAGMAS | pragmas).items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
    with connection:
        connection.execute(
            "CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY);"
            "CREATE TABLE articles (id integer PRIMARY KEY, body text)"
        ).fetchall()
        connection.executemany(
            "INSERT INTO articles (body) VALUES (hex(randomblob(450)))", [()] * rows
        )
        connection.execute("DELETE FROM articles WHERE id <= ?", (deleted,)).fetchall()
    connection.close()


def test_pragma_in_database_yml_comes_too_late(tmp_path: Path) -> None:
    """Why the README says that keeper init has to come first."""
    work_like_rails(tmp_path / "new.sqlite3", rows=1, deleted=0, auto_vacuum="incremental")
    assert pragma(tmp_path / "new.sqlite3", "auto_vacuum") == 0


def test_databases_can_shrink_and_keep_that_under_rails(app: Path, run: Run) -> None:
    """The files that keeper made are the ones that Rails fills."""
    run(INIT)

    for role in ROLES:
        path = app / f"storage/{role}.sqlite3"
        work_like_rails(path, rows=10, deleted=0)
        assert pragma(path, "auto_vacuum") == 2
        assert pragma(path, "journal_mode") == "wal"


def test_deploy_script_may_say_it_again(app: Path, run: Run) -> None:
    """Nothing of an existing database is changed."""
    run(INIT)
    work_like_rails(app / "storage/production.sqlite3", rows=10, deleted=0)

    run(INIT)

    assert count_rows(app / "storage/production.sqlite3", "articles") == 10


def test_readme_names_the_databases_of_database_yml() -> None:
    """All of them, and no other."""
    text = re.sub(r"<%.*?%>", "5", (RAILS / "config/database.yml").read_text())
    tables = read_yaml(text)["production"].values()
    assert sorted(table["database"] for table in tables) == sorted(
        word for word in INIT.split() if word.endswith(".sqlite3")
    )


def test_configuration_vacuums_all_and_backs_up_what_counts(
    tmp_path: Path, app: Path, run: Run
) -> None:
    """Solid Cache, Queue and Cable are vacuumed only."""
    run(INIT)
    for role in ROLES:
        work_like_rails(app / f"storage/{role}.sqlite3", rows=6000, deleted=5000)
    free = {role: pragma(app / f"storage/{role}.sqlite3", "freelist_count") for role in ROLES}

    shown = run(CONFIGURE).stdout
    said = run(CHECK)

    assert shown.count("backup           no") == 3
    for role in ROLES:
        path = app / f"storage/{role}.sqlite3"
        assert pragma(path, "freelist_count") == free[role] - 1000
        assert not Path(f"{path}-wal").exists() or Path(f"{path}-wal").stat().st_size == 0
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert snapshot.parent.relative_to(tmp_path / "remote") == Path("my-bucket/web1/production")
    assert count_rows(snapshot, "articles") == 1000
    assert "production: fresh" in said.stdout


def test_uploads_go_without_the_databases_among_them(tmp_path: Path, app: Path, run: Run) -> None:
    """Of one folder that has both."""
    run(INIT)
    run(CONFIGURE)
    (block,) = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    with (app / "keeper.toml").open("a") as config:
        config.write(block.replace("/srv/app", str(app)))
    (app / "storage/xt/ke").mkdir(parents=True)
    (app / "storage/xt/ke/xtkeeiv0rhls").write_bytes(b"an upload")

    run(FILES)

    assert contents(tmp_path / "remote/my-bucket/web1-files") == {
        "xt/ke/xtkeeiv0rhls": b"an upload"
    }


def test_recurring_job_runs_the_job_of_this_recipe() -> None:
    """As Solid Queue reads it: a class, its arguments, a cron line."""
    (task,) = read_yaml(RAILS / "config/recurring.yml")["production"].values()
    assert task == {"class": "KeeperJob", "args": ["vacuum"], "schedule": "17 * * * *"}
    assert "class KeeperJob < ApplicationJob" in (RAILS / "app/jobs/keeper_job.rb").read_text()


# What the job needs of Rails: a base class, a root, and somebody to call perform.
RAILS_FOR_A_JOB = """
require "pathname"
module Rails; def self.root = Pathname.new(Dir.pwd); end
class ApplicationJob; def self.queue_as(_name) = nil; end
load ARGV[0]
KeeperJob.new.perform(ARGV[1])
"""


@needs_ruby
@pytest.mark.parametrize("job", sorted(RAILS.rglob("*.rb")), ids=lambda path: path.name)
def test_ruby_is_valid(job: Path) -> None:
    """By Ruby itself, warnings included."""
    done = subprocess.run(["ruby", "-wc", job], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Syntax OK\n", "")


@needs_ruby
def test_job_frees_pages_and_fails_with_what_keeper_said(app: Path, run: Run) -> None:
    """A failed job is what Solid Queue shows."""
    run(INIT)
    path = app / "storage/production.sqlite3"
    work_like_rails(path, rows=6000, deleted=5000)
    free = pragma(path, "freelist_count")
    run(CONFIGURE)
    job = str(RAILS / "app/jobs/keeper_job.rb")
    command = ["ruby", "-e", RAILS_FOR_A_JOB, job, "vacuum"]
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    subprocess.run(command, cwd=app, env=environment, check=True)
    assert pragma(path, "freelist_count") == free - 1000

    path.rename(app / "elsewhere")
    done = subprocess.run(
        command, cwd=app, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "keeper vacuum: pid" in done.stderr
    assert "production.sqlite3: no such file" in done.stderr


def test_crontab_is_the_one_of_the_cron_recipe_with_rails_paths() -> None:
    """That one is run line by line in its own tests."""
    jobs = [
        re.findall(r"^[^#\s]+ \S+ \* \* \* .*$", (folder / "keeper.crontab").read_text(), re.M)
        for folder in (RAILS, recipe("cron"))
    ]
    assert jobs[0]
    assert jobs[0] == jobs[1]
    assert "KEEPER_CONFIG=/srv/app/keeper.toml" in (RAILS / "keeper.crontab").read_text()
