"""The files at a destination, as rclone lists them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """A file at a destination: path below it, size in bytes, hashes by algorithm."""

    path: str
    bytes: int
    hashes: dict[str, str] = field(default_factory=dict)


def remote_objects(items: Any) -> dict[str, RemoteObject]:
    """What rclone has listed, by path.

    Raises:
        ValueError: it is no listing.
    """
    try:
        return {
            item["Path"]: RemoteObject(
                str(item["Path"]), int(item["Size"]), dict(item.get("Hashes") or {})
            )
            for item in items
        }
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from None
