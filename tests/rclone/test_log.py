"""What is kept of rclone's log, in the words of 1.75."""

import json

from sqlitekeeper.rclone.log import LONGEST_WORD, Log


def heard(log: Log, *entries: dict[str, str]) -> Log:
    for entry in entries:
        log.take(json.dumps(entry).encode() + b"\n")
    log.end()
    return log


def complaint(path: str, message: str, level: str = "error") -> dict[str, str]:
    return {"level": level, "object": path, "msg": message}


def test_secret_where_a_complaint_is_cut_off_is_not_shown_in_part() -> None:
    """Half of a secret would not be recognised any more."""
    before = "x" * (LONGEST_WORD - 8 - len("a: "))
    log = heard(Log(secrets={"hunter2hunter2"}), complaint("a", before + "hunter2" * 2))

    (word,) = log.words
    assert "hunter" not in word
    assert word.endswith("x***")
