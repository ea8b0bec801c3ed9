"""YAML files of the recipes, read more strictly than PyYAML does by itself."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


class _Strict(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that stands twice in one table; PyYAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"{node.start_mark}: {twice} stands there twice"
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(source: Path | str) -> Any:
    """The one document of a file, or of a text."""
    (document,) = read_documents(source)
    return document


def read_documents(source: Path | str) -> list[Any]:
    """All documents of a file, or of a text."""
    text = source if isinstance(source, str) else source.read_text()
    return [document for document in yaml.load_all(text, _Strict) if document is not None]
