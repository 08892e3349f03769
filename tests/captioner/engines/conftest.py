"""Captions so short that no model runs on to the limit."""

from __future__ import annotations

from typing import Any

import pytest

from captioner.schema import json_schema

WORD = "^[a-z]{1,6}$"


def shortened(schema: Any) -> Any:
    """The schema, its free texts of one word, its lists of two."""
    if isinstance(schema, list):
        return [shortened(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: shortened(value) for name, value in schema.items()}
    if found.get("type") == "string" and "enum" not in found:
        return found | {"pattern": WORD}
    return found | {"maxItems": 2} if found.get("type") == "array" else found


@pytest.fixture(scope="session")
def short_schema() -> dict[str, Any]:
    """The captions' schema with answers of 700 characters at most, and so of 700 tokens."""
    schema: dict[str, Any] = shortened(json_schema())
    return schema
