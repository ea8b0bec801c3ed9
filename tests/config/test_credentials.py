"""Credentials are refused where the process list or a log would show them."""

from pathlib import Path

import pytest

from sqlitekeeper.config.credentials import refuse_credential_in_remote, secret_argument
from sqlitekeeper.config.paths import local_folder
from sqlitekeeper.errors import ConfigError


@pytest.mark.parametrize(
    ("to", "option"),
    [
        (":s3,access_key_id=A,secret_access_key=hunter2,region=x:bucket", "secret_access_key"),
        (":b2,account=a,key=hunter2:bucket/x", "key"),
        (":sftp,host=example.org,pass=hunter2:/x", "pass"),
        ("lab,session_token='hunter2':bucket", "session_token"),
        (":azureblob,sas-url=hunter2:x", "sas-url"),
        (":sftp,key_file_pass=hunter2,host=x:y", "key_file_pass"),
    ],
)
def test_remote_with_a_credential_is_refused(to: str, option: str) -> None:
    """The message names the option and not its value; the hint says where it belongs."""
    with pytest.raises(ConfigError, match=f"no credential: {option}") as caught:
        local_folder(to, Path("/"))

    assert "hunter2" not in caught.value.full_text
    assert "rclone.conf" in str(caught.value.hint)


@pytest.mark.parametrize(
    "to",
    [
        "b2:bucket/host",
        ":sftp,host=example.org,user=me,key_file=/home/me/.ssh/id:/x",
        ":s3,access_key_id=A,env_auth=true:bucket",
        "lab,server_side_encryption=aws:bucket/pass=x",
        ":local:/srv/key=x",
    ],
)
def test_remote_without_one_is_fine(to: str) -> None:
    """Names of keys and of files with keys are no secrets."""
    refuse_credential_in_remote(to)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--b2-key", "hunter2"], "--b2-key"),
        (["--bwlimit", "8M", "--s3-secret-access-key=hunter2"], "--s3-secret-access-key"),
        (["--crypt-password2", "hunter2"], "--crypt-password2"),
        (["--header", "Authorization: Bearer hunter2"], "--header"),
        (["--header-upload=X-Auth-Token: hunter2"], "--header-upload"),
    ],
)
def test_argument_with_a_credential_is_found(arguments: list[str], flag: str) -> None:
    """Whether the value follows or is part of the argument."""
    assert secret_argument(arguments) == flag


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--bwlimit", "8M"],
        ["--password-command", "pass show rclone"],
        ["--sftp-key-file", "/root/.ssh/id"],
        ["--s3-access-key-id", "AKIA"],
        ["--header-upload", "Cache-Control: private"],
        ["-v", "--s3-no-check-bucket"],
    ],
)
def test_ordinary_arguments_are_fine(arguments: list[str]) -> None:
    """Programs and files that hold a secret are no secrets."""
    assert secret_argument(arguments) is None
