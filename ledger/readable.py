"""Wire objects as people and JSON see them: fields by name, bytes as hex, enums as they are named."""

from enum import Enum
from typing import Any

from msgspec import Struct


def readable(value: Any) -> Any:
    """JSON-able form of a wire object: structs become objects with field names, bytes lower-case hex, enums their
    names.
    """
    if isinstance(value, Struct):
        return {field: readable(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, tuple | list):
        return [readable(item) for item in value]
    if isinstance(value, dict):
        return {str(readable(key)): readable(item) for key, item in value.items()}
    return value
