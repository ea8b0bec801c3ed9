"""Destinations that do not tell `acme` from `Acme`, as Dropbox, OneDrive, SMB and exFAT."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import S3, Keeper, MakeDatabase, Outcome, contents, count_rows, wait_until
from tests.faults.surroundings import manifests_that_lie


@dataclass(frozen=True)
class Hosts:
    """Two hosts that ship to one place, each from a state folder of its own."""

    folder: Path
    keeper: Keeper
    to: str

    def back_up(self, name: str, *arguments: object) -> Outcome:
        """A run of the host that has the database of this name."""
        path = self.folder / f"host-of-{name}" / f"{name}.sqlite3"
        state = {"KEEPER_STATE": str(path.parent / "state")}
        return self.keeper("backup", path, "--to", self.to, "--json", *arguments, env=state)

    def restored_rows(self, name: str) -> int:
        """How many rows the latest snapshot has."""
        target = self.folder / f"{name}.restored"
        run = self.keeper("restore", name, "--from", self.to, "--to", target)
        assert run.status == 0, run.err
        return count_rows(target)


@pytest.fixture
def folder(tmp_path: Path, make_database: MakeDatabase) -> Path:
    """Two databases that are as large as each other."""
    for name in ("acme", "Acme"):
        make_database(f"host-of-{name}/{name}.sqlite3", rows=20)
    return tmp_path


@pytest.fixture
def blind(folder: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A WebDAV server that ignores case; it knows no hashes either."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "dav").mkdir()
    program = shutil.which("rclone", path=Path(sys.executable).parent)
    assert program
    command = [program, "serve", "webdav", str(folder / "dav"), "--addr", address]
    with (folder / "dav.log").open("w") as log:
        server = subprocess.Popen([*command, "--vfs-case-insensitive"], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(address))
        monkeypatch.setenv("RCLONE_CONFIG_DAV_TYPE", "webdav")
        monkeypatch.setenv("RCLONE_CONFIG_DAV_URL", f"http://{address}")
        yield Hosts(folder, keeper, "dav:")
    finally:
        server.terminate()
        server.wait()


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_second_database_of_a_name_but_for_its_case_is_refused(blind: Hosts) -> None:
    """Its snapshots would lie in the folder of the first, where nobody would look for them."""
    assert blind.back_up("acme").status == 0
    before = contents(blind.folder / "dav")

    run = blind.back_up("Acme")

    assert (run.status, run.entry["outcome"]) == (1, "failed")
    assert "dav: ignores case and has acme already" in run.entry["reason"]
    assert contents(blind.folder / "dav") == before


def test_first_database_of_the_name_goes_on(blind: Hosts) -> None:
    """What it has there is its own."""
    assert blind.back_up("acme").status == 0
    assert blind.back_up("Acme").status == 1

    assert blind.back_up("acme").entry["outcome"] == "unchanged"

    latest = json.loads((blind.folder / "dav/acme/latest.json").read_bytes())
    assert latest["database"] == "acme"
    assert manifests_that_lie(blind.folder / "dav") == []
    assert blind.restored_rows("acme") == 20


def test_where_case_counts_both_are_shipped(folder: Path, keeper: Keeper, s3: S3) -> None:
    """Two names are two databases, for one question to the destination, the first time only."""
    hosts = Hosts(folder, keeper, s3.to)
    assert hosts.back_up("acme").status == 0
    s3.forget_calls()

    assert hosts.back_up("Acme").entry["outcome"] == "shipped"

    assert s3.calls().count("HEAD OBJECT") == 4
    s3.forget_calls()
    assert hosts.back_up("Acme", "--force").entry["outcome"] == "shipped"
    assert s3.calls().count("HEAD OBJECT") == 3
    assert s3.calls().count("LIST BUCKET") == 1
    assert manifests_that_lie(s3.folder) == []
