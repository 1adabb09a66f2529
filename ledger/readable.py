"""Wire objects as people and JSON see them: fields by name, bytes as hex, enums as they are named."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from msgspec import Struct, inspect


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


def from_readable(shown: Any, kind: inspect.Type) -> Any:
    """The inverse, for the types that arguments of contracts are made of; what is a value already stays one.

    Raises ValueError, KeyError, TypeError for what is none of the type's, and of lengths and ranges leaves the rest to
    the decoder.
    """
    match kind:
        case inspect.UnionType(types=(inner, inspect.NoneType())) if shown is not None:
            return from_readable(shown, inner)
        case inspect.StructType(cls=cls, fields=fields) if isinstance(shown, Mapping):
            if unknown := sorted(shown.keys() - {field.name for field in fields}):
                raise ValueError(f"there is no field {', '.join(map(str, unknown))}")
            return cls(**{field.name: from_readable(shown[field.name], field.type) for field in fields})
        case inspect.VarTupleType(item_type=item):
            return tuple(from_readable(each, item) for each in shown)
        case inspect.BytesType() if isinstance(shown, str):
            return bytes.fromhex(shown)
        case inspect.EnumType(cls=cls) if isinstance(shown, str):
            return cls[shown.upper()]
    return shown
