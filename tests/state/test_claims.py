"""Names that runs keep from one another which share no state folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sqlitekeeper.state import claims as module
from sqlitekeeper.state.claims import Claims
from tests.conftest import REPOSITORY, OtherUser

APP = Path("/srv/app.sqlite3")
CLAIM = """
import os, sys
from pathlib import Path
from sqlitekeeper.state.claims import Claims
os.setuid(int(sys.argv[1]))
claims = Claims()
print(claims.claim(Path("/srv/app.sqlite3"), "a"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def claims() -> Iterator[Claims]:
    """Those of one run."""
    with closing(Claims()) as one:
        yield one


@pytest.fixture
def others() -> Iterator[Claims]:
    """Those of another run."""
    with closing(Claims()) as one:
        yield one


def test_name_is_claimed_once(claims: Claims, others: Claims) -> None:
    """By whoever comes first; other names, and those of other databases, are free."""
    assert claims.claim(APP, "a")

    assert not others.claim(APP, "a")
    assert others.claim(APP, "b")
    assert others.claim(Path("/srv/other.sqlite3"), "a")


def test_every_name_of_a_file_leads_to_the_same_claim(
    claims: Claims, others: Claims, tmp_path: Path
) -> None:
    """As with locks."""
    (tmp_path / "link").symlink_to(APP)
    claims.claim(APP, "a")

    assert not others.claim(tmp_path / "link", "a")


def test_claims_end_with_the_run(claims: Claims, others: Claims) -> None:
    """Nothing is left."""
    claims.claim(APP, "a")
    claims.close()

    assert others.claim(APP, "a")


def test_no_more_than_some_are_kept(
    claims: Claims, others: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many databases are read in a moment."""
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    for name in "abc":
        claims.claim(APP, name)

    assert others.claim(APP, "a")
    assert not others.claim(APP, "b")


def test_claim_of_another_user_counts(claims: Claims, other_user: OtherUser) -> None:
    """They may well back the same database up."""
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(other_user.uid)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"

        assert not claims.claim(APP, "a")
        process.kill()


def test_where_nothing_can_be_claimed_nothing_is_in_the_way(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hardened service may have no such sockets."""

    def refuse(*arguments: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("socket.socket", refuse)

    assert claims.claim(APP, "a")
