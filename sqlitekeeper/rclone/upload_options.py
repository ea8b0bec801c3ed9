"""What rclone need not do for an upload, because keeper does it, or it proves nothing."""

import os
from collections.abc import Sequence

from sqlitekeeper.rclone.local_folder import is_local

# To log a request's headers, rclone sends as many bytes as it uploads to nowhere once more:
# of 2 GB to S3 that took as long as all the rest (measured: 1.75).
COUNTED_BYTES = 64 * 2**20
# Larger files go to S3 in parts: https://rclone.org/s3/#s3-upload-cutoff
PARTS_BYTES = 200 * 2**20


def is_counted(to: str, sizes: Sequence[int]) -> bool:
    """Whether the API calls of an upload of files of these sizes are counted."""
    return is_local(to) or sum(sizes) <= COUNTED_BYTES


def upload_options(to: str, sizes: Sequence[int], *, bucket_exists: bool, is_s3: bool) -> list[str]:
    """Flags for an upload of files of these sizes, each of which saves calls or reading.

    keeper asks the destination for all that was uploaded, and reads local copies back.
    What the user has set in the environment wins.
    """
    if is_local(to):
        # It would read both files once more to compare their MD5; keeper compares sha256.
        options = ["--ignore-checksum"]
    else:
        # rclone would look at each object after its upload as well.
        options = ["--s3-no-head"]
        if bucket_exists:
            # Saves the call that makes the bucket; where nothing is yet, it may have to be made.
            options.append("--s3-no-check-bucket")
        if is_s3 and sizes and min(sizes) > PARTS_BYTES:
            # rclone would read the whole file first, have S3 keep its MD5 as a remark, and
            # compare the remark with what it wrote there. What S3 checks is the MD5 of each
            # part, which goes along all the same (seen: 1.60 and 1.75).
            options += ["--s3-disable-checksum", "--ignore-checksum"]
            # What newer versions do instead above --multi-thread-cutoff takes a quarter longer and
            # one call more (measured: 1.75); 1.60 does it for downloads only.
            options.append("--multi-thread-streams=0")
    return [option for option in options if _variable(option) not in os.environ]


def _variable(option: str) -> str:
    """The variable in which rclone looks for a flag: https://rclone.org/docs/#options."""
    name = option.removeprefix("--").partition("=")[0]
    return "RCLONE_" + name.replace("-", "_").upper()
