"""recipes/django: its settings and its commands, with a real Django where it is installed."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest

from sqlitekeeper.config import read_config
from tests.conftest import Keeper, count_rows, pragma
from tests.recipes.shell_blocks import recipe, run_shell, shell_blocks

DJANGO = recipe("django")
INIT, CHECK = shell_blocks("django")
SETTINGS = DJANGO / "database_settings.py"

needs_django = pytest.mark.skipif(
    importlib.util.find_spec("django") is None, reason="Django is missing: pip install django"
)

Manage = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    """Run a block of the README, on the application in `app`."""

    def run_block(block: str) -> str:
        done = run_shell(block, tmp_path, paths={"/srv/app": tmp_path / "app"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_block


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """A new project with the recipe's settings; runs its manage.py."""
    app = tmp_path / "app"
    app.mkdir()
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", "site_of_test", app],
        env=environment,
        check=True,
    )
    with (app / "site_of_test/settings.py").open("a") as settings:
        settings.write(SETTINGS.read_text().replace("/srv/app", str(app)))
    (app / "keeper.toml").write_text(
        (DJANGO / "keeper.toml").read_text().replace("/srv/app", str(app))
    )

    def run_manage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, app / "manage.py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_manage


SESSIONS = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
old, new = (timezone.now() + timedelta(days=days) for days in (-1, 1))
Session.objects.bulk_create(
    Session(session_key=str(n), session_data="x" * 900, expire_date=new if n % 6 == 0 else old)
    for n in range(6000)
)
"""


def test_settings_configuration_and_readme_are_about_one_file() -> None:
    """The one that keeper init makes."""
    name = run_path(str(SETTINGS))["DATABASES"]["default"]["NAME"]
    config = read_config(DJANGO / "keeper.toml", {"HOME": "/nowhere"}, hostname=lambda: "web1")
    assert str(name) in INIT
    assert [name] == [entry.path for entry in config.databases]


@needs_django
def test_database_that_keeper_made_can_shrink_under_django(
    tmp_path: Path, manage: Manage, run: Callable[[str], str]
) -> None:
    """From the first migration to a backup."""
    run(INIT)
    path = tmp_path / "app/data/db.sqlite3"
    manage("migrate")
    assert pragma(path, "auto_vacuum") == 2
    assert pragma(path, "journal_mode") == "wal"
    manage("shell", "-c", SESSIONS)
    manage("clearsessions")
    free = pragma(path, "freelist_count")
    assert free > 1000

    said = run(CHECK)

    assert pragma(path, "freelist_count") == free - 1000
    assert "app: fresh" in said
    (snapshot,) = (tmp_path / "remote/my-bucket/web1/app").glob("*.sqlite3")
    assert count_rows(snapshot, "django_session") == 1000


@needs_django
def test_without_keeper_init_the_file_never_shrinks(tmp_path: Path, manage: Manage) -> None:
    """Not even with auto_vacuum in the settings, after the journal mode."""
    (tmp_path / "app/data").mkdir()
    settings = tmp_path / "app/site_of_test/settings.py"
    command = "synchronous = normal;"
    text = settings.read_text()
    assert command in text
    settings.write_text(text.replace(command, f"{command} PRAGMA auto_vacuum = incremental;"))
    manage("migrate")
    assert pragma(tmp_path / "app/data/db.sqlite3", "auto_vacuum") == 0


@needs_django
def test_django_goes_on_with_a_restored_database(
    tmp_path: Path, manage: Manage, run: Callable[[str], str], keeper: Keeper
) -> None:
    """No migration is missing, and the journal mode is what it was."""
    run(INIT)
    manage("migrate")
    manage("shell", "-c", SESSIONS)
    run("cd /srv/app && keeper backup")
    manage("clearsessions")
    run("cd /srv/app && keeper restore app --replace")
    path = tmp_path / "app/data/db.sqlite3"
    assert pragma(path, "journal_mode") == "wal"
    assert count_rows(path, "django_session") == 6000
    manage("migrate", "--check")


@needs_django
def test_options_of_the_settings_are_known_to_this_django() -> None:
    """`transaction_mode` and `init_command` came with 5.1."""
    assert import_module("django").VERSION >= (5, 1)
