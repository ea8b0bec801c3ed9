"""What object stores ask for calls, for storage and for downloads: list prices in dollars."""

from collections.abc import Mapping
from dataclasses import dataclass

PUTS = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
READS = ("GetObject", "HeadObject")
DELETES = ("DeleteObject", "DeleteObjects", "AbortMultipartUpload")


@dataclass(frozen=True)
class Provider:
    """A provider's price list; `per_thousand` is by class of calls, the rest for each GB.

    `classes` says which class an operation of S3's API is billed as; what is in
    none is free. `free` is what comes without charge, and is not counted in.
    """

    name: str
    classes: Mapping[str, tuple[str, ...]]
    per_thousand: Mapping[str, float]
    storage: float
    download: float
    free: str
    source: str
    read: str

    def billed(self, operations: Mapping[str, int]) -> dict[str, int]:
        """How many calls there are of each class."""
        return {
            kind: sum(operations.get(name, 0) for name in names)
            for kind, names in self.classes.items()
        }

    def cost(self, operations: Mapping[str, int]) -> float:
        """What these calls cost."""
        billed = self.billed(operations)
        return sum(billed[kind] * price / 1000 for kind, price in self.per_thousand.items())


# Read from stored copies of the providers' pages or from what others copied off them, on
# the dates given. Prices change: the source is where to look.
_S3 = {
    "PUT, COPY, POST, LIST": (*PUTS, "CopyObject", "ListObjectsV2", "CreateBucket"),
    "GET and others": (*READS, "HeadBucket"),
}
_R2 = {
    "A": (*PUTS, "CopyObject", "ListObjectsV2", "CreateBucket"),
    "B": (*READS, "HeadBucket"),
}
_B2 = {
    "A": (*PUTS, *DELETES),
    "B": READS,
    "C": ("CopyObject", "ListObjectsV2", "CreateBucket", "HeadBucket"),
}
PROVIDERS = (
    Provider(
        "S3 Standard, us-east-1",
        _S3,
        {"PUT, COPY, POST, LIST": 0.005, "GET and others": 0.0004},
        storage=0.023,
        download=0.09,
        free="100 GB of downloads a month",
        source="https://aws.amazon.com/s3/pricing/",
        read="2026-09-07",
    ),
    Provider(
        "Cloudflare R2",
        _R2,
        {"A": 0.0045, "B": 0.00036},
        storage=0.015,
        download=0.0,
        free="10 GB, 1 million class A and 10 million class B calls a month",
        source="https://developers.cloudflare.com/r2/pricing/",
        read="2026-06-13",
    ),
    Provider(
        "Backblaze B2",
        _B2,
        {"A": 0.0, "B": 0.0, "C": 0.0},
        storage=0.00695,
        download=0.01,
        free="10 GB; downloads of three times what is stored",
        source="https://www.backblaze.com/cloud-storage/pricing",
        read="2026-09-07",
    ),
    Provider(
        "Backblaze B2, calls billed",
        _B2,
        {"A": 0.0, "B": 0.0004, "C": 0.004},
        storage=0.006,
        download=0.01,
        free="10 GB; 2,500 calls a day of class B and of class C; downloads as above",
        source="https://www.backblaze.com/cloud-storage/transaction-pricing",
        read="2026-04 (before calls became free)",
    ),
)
