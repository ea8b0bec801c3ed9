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


def test_cause_is_kept_beside_what_came_of_it() -> None:
    """A copy that could not be removed either is not the reason why it is not there."""
    log = heard(
        Log(objects={"a/a.sqlite3"}),
        complaint("a/a.sqlite3", "corrupted on transfer: md5 hashes differ"),
        complaint("a/a.sqlite3", "Failed to remove failed copy: Access Denied", "info"),
    )

    assert log.words_about("a/a.sqlite3") == [
        "a/a.sqlite3: corrupted on transfer: md5 hashes differ",
        "a/a.sqlite3: Failed to remove failed copy: Access Denied",
    ]


def test_what_is_said_of_a_part_concerns_the_whole() -> None:
    """Files are written under another name first."""
    log = heard(
        Log(objects={"a/a.sqlite3"}),
        complaint("a/a.sqlite3.bc0ca6a4.partial", "partial file rename failed: no such file"),
    )

    assert log.words_about("a/a.sqlite3") == [
        "a/a.sqlite3.bc0ca6a4.partial: partial file rename failed: no such file"
    ]


def test_only_what_was_asked_for_is_kept_by_itself() -> None:
    """However many names there are in a log, they do not fill the memory."""
    log = heard(Log(objects={"a"}), complaint("b", "Failed to copy: no"))

    assert log.words_about("b") == []
    assert log.words == ["b: Failed to copy: no"]


def test_secret_where_a_complaint_is_cut_off_is_not_shown_in_part() -> None:
    """Half of a secret would not be recognised any more."""
    before = "x" * (LONGEST_WORD - 8 - len("a: "))
    log = heard(
        Log(objects={"a"}, secrets={"hunter2hunter2"}), complaint("a", before + "hunter2" * 2)
    )

    for (word,) in (log.words, log.words_about("a")):
        assert "hunter" not in word
        assert word.endswith("x***")
