"""Destinations that hold a content already, so that nothing is uploaded again."""

_STRENGTH: dict[str, int] = {"none": 0, "quick": 1, "integrity": 2}
