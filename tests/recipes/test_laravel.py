"""recipes/laravel: what it gives to Laravel's scheduler, by a real PHP where there is one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import apsw
import pytest

from sqlitekeeper.config import read_config
from tests.conftest import MakeDatabase, count_rows, pragma
from tests.recipes.shell_blocks import BIN, recipe, run_shell, shell_blocks

LARAVEL = recipe("laravel")
INIT, CHECK = shell_blocks("laravel")

needs_php = pytest.mark.skipif(
    shutil.which("php") is None, reason="php is missing: apt-get install php-cli"
)

# Laravel as far as these files go: two functions, and a scheduler that writes down what it is told.
LARAVEL_FOR_FILES = r"""
namespace Illuminate\Support\Facades {
    class Schedule {
        public static array $jobs = [];
        private array $calls = [];
        public static function exec(string $command): self {
            $job = new self();
            $job->calls['exec'] = [$command];
            self::$jobs[] = $job;
            return $job;
        }
        public function __call(string $name, array $arguments): self {
            $this->calls[$name] = $arguments;
            return $this;
        }
        public static function told(): array {
            return array_map(fn ($job) => $job->calls, self::$jobs);
        }
    }
}
namespace {
    function env(string $name, mixed $default = null): mixed { return $default; }
    function database_path(string $name): string { return "/srv/app/database/$name"; }
    $returned = require $argv[1];
    echo json_encode([$returned, \Illuminate\Support\Facades\Schedule::told()]);
}
"""


def php(file: str) -> tuple[Any, Any]:
    """What a file returns, and what it tells the scheduler."""
    done = subprocess.run(
        ["php", "-d", "error_reporting=E_ALL", "-r", LARAVEL_FOR_FILES, LARAVEL / file],
        capture_output=True,
        text=True,
        check=True,
    )
    returned, told = json.loads(done.stdout)
    return returned, told


@needs_php
@pytest.mark.parametrize("file", sorted(LARAVEL.rglob("*.php")), ids=lambda path: path.name)
def test_php_is_valid(file: Path) -> None:
    """By PHP itself."""
    done = subprocess.run(["php", "-l", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_php
def test_connection_is_the_database_that_keeper_looks_after() -> None:
    """Under the name that Laravel gives it by itself."""
    connection = php("config/database.php")[0]["connections"]["sqlite"]
    config = read_config(LARAVEL / "keeper.toml", {"HOME": "/nowhere"}, hostname=lambda: "web1")
    assert [Path(connection["database"])] == [entry.path for entry in config.databases]
    assert connection["database"] in INIT
    assert connection["journal_mode"] == "wal"


@needs_php
def test_scheduled_commands_do_their_work(tmp_path: Path, make_database: MakeDatabase) -> None:
    """Each as it is handed to the shell; and in maintenance mode too."""
    path = make_database("app/database/database.sqlite", rows=6000, deleted=5000)
    free = pragma(path, "freelist_count")
    config = (LARAVEL / "keeper.toml").read_text()
    (tmp_path / "app/keeper.toml").write_text(config.replace("/srv/app", f"{tmp_path}/app"))

    _, jobs = php("routes/console.php")

    assert [job.get("hourlyAt") or job.get("dailyAt") for job in jobs] == [[17], ["03:42"]]
    for job in jobs:
        assert "evenInMaintenanceMode" in job
        assert "emailOutputOnFailure" in job
        places = {"/opt/keeper/bin": BIN, "/srv/app": tmp_path / "app"}
        done = run_shell(job["exec"][0], tmp_path, paths=places)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pragma(path, "freelist_count") == free - 1000
    (snapshot,) = (tmp_path / "remote").rglob("*.sqlite3")
    assert count_rows(snapshot) == 1000


def test_readme_takes_a_new_database_to_its_first_backup(tmp_path: Path) -> None:
    """keeper init, what a migration does, and the commands of the check."""
    app = tmp_path / "app"
    assert run_shell(INIT, tmp_path, paths={"/srv/app": app}).returncode == 0
    config = (LARAVEL / "keeper.toml").read_text()
    (app / "keeper.toml").write_text(config.replace("/srv/app", str(app)))
    path = app / "database/database.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = wal").fetchall()
    connection.execute("CREATE TABLE migrations (id integer PRIMARY KEY, migration varchar)")
    connection.close()

    done = run_shell(CHECK, tmp_path, paths={"/srv/app": app})

    assert done.returncode == 0, done.stderr
    assert pragma(path, "auto_vacuum") == 2
    assert "app: fresh" in done.stdout
