"""The files at a destination, as rclone lists them."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """A file at a destination: path below it, size in bytes, hashes by algorithm."""

    path: str
    bytes: int
    hashes: dict[str, str] = field(default_factory=dict)


def parse_listing(text: str) -> dict[str, RemoteObject]:
    """What `rclone lsjson` has printed, by path.

    Raises:
        ValueError: it is no listing.
    """
    try:
        items = json.loads(text)
        if not isinstance(items, list):
            raise TypeError("it is not a list")
        return {
            item["Path"]: RemoteObject(
                str(item["Path"]), int(item["Size"]), dict(item.get("Hashes") or {})
            )
            for item in items
        }
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
