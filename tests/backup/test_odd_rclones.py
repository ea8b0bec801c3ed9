"""Programs that are not quite rclone."""

from pathlib import Path

import pytest

from tests.conftest import Keeper, WrapRclone


@pytest.mark.parametrize("program", ["true", "echo"])
def test_program_that_is_not_rclone_ships_nothing(
    keeper: Keeper, app: Path, to: Path, staging: Path, wrap_rclone: WrapRclone, program: str
) -> None:
    """It is found out before any work is done."""
    wrap_rclone()
    run = keeper("backup", "--json", env={"KEEPER_RCLONE": program})

    assert run.status == 1
    assert "does not look like rclone" in run.json["error"]["message"]
    assert run.json["error"]["hint"]
    assert not to.exists()
    assert list(staging.iterdir()) == []


def test_missing_rclone_is_said_to_be_missing(
    keeper: Keeper, app: Path, wrap_rclone: WrapRclone
) -> None:
    """The message names who asked for it, the hint what to do."""
    wrap_rclone()
    run = keeper("backup", "--json", env={"KEEPER_RCLONE": "/nowhere/rclone"})

    assert run.status == 2
    assert run.json["error"]["message"].startswith("$KEEPER_RCLONE: /nowhere/rclone")
    assert run.json["error"]["hint"]


DOES_NOTHING = {"copy": "exit 0"}
FAILS = {"copy": "echo 'the bucket is on fire' >&2; exit 7"}
DIES = {"copy": "kill -9 $rcd"}
TRUNCATES = {"copy": '"$real"; truncate -s 5 to/app/*.sqlite3; exit 0'}


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        pytest.param(DOES_NOTHING, "rclone reported no error, but", id="does nothing"),
        pytest.param(FAILS, ": the bucket is on fire", id="fails"),
        pytest.param(DIES, "killed by SIGKILL", id="dies"),
        pytest.param(TRUNCATES, "has 5 bytes at ", id="truncates"),
    ],
)
def test_rclone_that_misbehaves_is_found_out(
    keeper: Keeper,
    app: Path,
    to: Path,
    staging: Path,
    wrap_rclone: WrapRclone,
    cases: dict[str, str],
    words: str,
) -> None:
    """The run fails with the reason; no manifest at the destination, nothing in staging."""
    to.mkdir()
    wrap_rclone(**cases)

    run = keeper("backup", "--json")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert run.entry["shipped"][0]["outcome"] == "failed"
    assert words in run.entry["reason"]
    assert not list(to.rglob("*.json"))
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(("year", "status"), [("21", 0), ("19", 1)])
def test_latest_json_that_another_run_has_refreshed_is_no_fault(
    keeper: Keeper, app: Path, to: Path, wrap_rclone: WrapRclone, year: str, status: int
) -> None:
    """It is the newer one that counts; an older one was not refreshed."""
    change = f's/confirmed_at": *"20/confirmed_at": "{year}/'
    wrap_rclone(copy=f'"$real"; sed -i \'{change}\' "${{to#disk:}}"; exit 0')

    run = keeper("backup", "--json")

    assert run.status == status, run.err
    assert f'confirmed_at": "{year}' in (to / "app/latest.json").read_text()
