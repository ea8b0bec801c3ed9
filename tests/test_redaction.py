"""What is shown of command lines, texts and addresses that hold secrets."""

import pytest

from sqlitekeeper.redaction import as_typed, concealed, redacted, scrubbed, secrets_in


@pytest.mark.parametrize(
    "flag",
    [
        "--s3-secret-access-key",
        "--s3-session-token",
        "--b2-key",
        "--sftp-pass",
        "--sftp-key-file-pass",
        "--sftp-key-pem",
        "--crypt-password",
        "--crypt-password2",
        "--password-command",
        "--azureblob-sas-url",
        "--gcs-service-account-credentials",
        "--storj-access-grant",
        "--header",
        "--header-upload",
        "--webdav-bearer-token",
        "--drive-client-secret",
    ],
)
def test_values_of_secret_flags_are_hidden(flag: str) -> None:
    """Joined to the flag or as the next word; what follows stays."""
    assert redacted(["copy", f"{flag}=hunter2", "a"]) == ["copy", f"{flag}=***", "a"]
    assert redacted(["copy", flag, "hunter2", "a"]) == ["copy", flag, "***", "a"]
    assert secrets_in([f"{flag}=hunter2"]) == secrets_in([flag, "hunter2"]) == {"hunter2"}


@pytest.mark.parametrize(
    "words",
    [
        ["--bwlimit", "8M"],
        ["--sftp-key-file", "/home/me/.ssh/id"],
        ["--sftp-key-use-agent", "b2:x"],
        ["--config=/etc/rclone.conf", "b2:my-bucket/web1/"],
    ],
)
def test_everything_else_stays(words: list[str]) -> None:
    """As it was written."""
    assert redacted(words) == words
    assert secrets_in(words) == frozenset()


def test_flag_after_a_flag_that_lacks_its_value_stays() -> None:
    """It is no secret."""
    assert redacted(["--ask-password", "--bwlimit", "8M"]) == ["--ask-password", "--bwlimit", "8M"]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("https://me:hunter2@host/x", "https://***@host/x"),
        (
            ":s3,access_key_id=AK,secret_access_key=hunter2:bucket",
            ":s3,access_key_id=***,secret_access_key=***:bucket",
        ),
        (":sftp,host=h,pass='hunter2':x", ":sftp,host=h,pass=***:x"),
    ],
)
def test_credentials_in_remotes_are_hidden(word: str, shown: str) -> None:
    """A remote can carry its whole configuration in its name."""
    assert redacted(["lsf", word]) == ["lsf", shown]


def test_scrubbed_text_has_none_of_the_secrets() -> None:
    """The longest first, so that none is left in part."""
    assert scrubbed("no: abcdef, abc", {"abc", "abcdef"}) == "no: ***, ***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hc-ping.com/uuid?key=1", "https://hc-ping.com/..."),
        ("http://me:word@[::1]:8000/uuid", "http://[::1]/..."),
    ],
)
def test_only_the_host_of_an_address_is_left(url: str, shown: str) -> None:
    """The rest of a ping URL is its password."""
    assert concealed(url) == shown


def test_command_without_names_reads_nothing() -> None:
    """It does not wait for somebody to type them."""
    assert as_typed(["rclone", "copy"], []) == "rclone copy </dev/null"
