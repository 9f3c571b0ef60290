"""Reading a YAML file and checking it against a schema; an error is one line that names the key."""

import difflib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from stages.core.errors import UserError

_MAX_VALUE_LENGTH = 120  # characters of a value that a message repeats
_MAX_NODES = 200_000  # of a YAML text with its aliases replaced; params have some hundreds
Schema = TypeVar("Schema", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """Return the content of the YAML file `path`, read as DVC reads it (YAML 1.2).

    Raises:
        UserError: it is missing, not UTF-8 or not YAML, or has a duplicate key.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run from the project's folder") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text, read as DVC reads it (YAML 1.2).

    Raises:
        ValueError: it is not YAML, has a duplicate key or a value that does not fit its tag, or would be
            too large with its aliases replaced.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        check_size(text)
        return YAML(typ="safe").load(text)
    except RecursionError:
        raise ValueError("nested too deeply to be params") from None
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = str(error).split("To suppress this check")[0]
        raise ValueError(f"not YAML: {reason}") from None


def check_size(text: str, limit: int = _MAX_NODES) -> None:
    """Check the number of nodes that a YAML text has once its aliases are replaced.

    Nothing is built: a few lines of aliases of aliases can stand for more values than fit in memory.

    Args:
        text: of the file.
        limit: the largest number of nodes.

    Raises:
        ValueError: there are more, or an alias lies within what it stands for.
        YAMLError: it is not YAML.
    """
    from ruamel.yaml import YAML

    events: Any = YAML(typ="safe").parse(text)
    sizes: dict[str | None, int | None] = {}  # by anchor; None until its node has ended
    unfinished: list[tuple[str | None, int]] = [(None, 0)]
    size: int | None
    for event in events:
        name = type(event).__name__
        anchor: str | None = getattr(event, "anchor", None)
        if name in {"MappingStartEvent", "SequenceStartEvent"}:
            sizes[anchor] = None
            unfinished.append((anchor, 1))
            continue
        if name in {"MappingEndEvent", "SequenceEndEvent"}:
            anchor, size = unfinished.pop()
        elif name == "AliasEvent":
            size = sizes.get(anchor, 1)  # an unknown anchor is reported when the text is loaded
        elif name == "ScalarEvent":
            size = 1
        else:
            continue
        if size is None:
            raise ValueError(f"alias *{anchor} lies within what it stands for")
        if name != "AliasEvent":
            sizes[anchor] = size
        above, total = unfinished.pop()
        if total + size > limit:
            raise ValueError(f"more than {limit:,} values once its aliases are replaced")
        unfinished.append((above, total + size))


def validate(schema: type[Schema], values: Any, path: Path) -> Schema:
    """Return `values`, as read from `path`, checked against `schema`.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type or range; the line
            names the file, the key, the value, what is allowed and, for an unknown key, the nearest
            known one.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error, schema)}") from None


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return one line on the first error, and how many more there are."""
    # A misspelt key gives two errors, unknown and missing: report the unknown key.
    first = min(
        error.errors(), key=lambda entry: entry["type"] not in {"extra_forbidden", "invalid_key"}
    )
    keys, known_keys = _resolve(first["loc"], schema)
    if first["type"].startswith("union_tag_"):
        keys.append("kind")
    line = _describe(first, known_keys)
    if keys:
        line = f"{'.'.join(keys)}: {line}"
    elif first["type"] != "value_error":  # a rule between sections names its keys itself
        line = f"the whole file: {line}"
    further = error.error_count() - 1
    return f"{line} (and {further} more)" if further else line


def _describe(error: Any, known_keys: list[str]) -> str:
    """Return what is wrong with a key.

    Args:
        error: of pydantic.
        known_keys: the keys that its section may have; for an error in the key `kind`, its allowed values.
    """
    kind: str = error["type"]
    value: object = error["input"]
    if kind == "missing":
        return "this key is missing; add it (params.yaml in git shows its default)"
    if kind == "union_tag_not_found":
        return f"this key is missing; must be one of {', '.join(known_keys)}"
    if kind == "union_tag_invalid":
        return f"given {error['input']['kind']!r}; must be one of {', '.join(known_keys)}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), known_keys, n=1, cutoff=0)
        nearest = f"; the nearest known key is {near[0]!r}" if near else ""
        return f"unknown key{nearest} (known: {', '.join(known_keys)})"
    allowed: str = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        allowed = "must be a section with keys of its own"
    if not isinstance(value, dict):
        text = repr(value)
        if len(text) > _MAX_VALUE_LENGTH:
            text = f"{text[:_MAX_VALUE_LENGTH]}..."
        allowed = f"given {text}; {allowed}"
    return allowed


def _resolve(loc: tuple[Any, ...], schema: type[BaseModel]) -> tuple[list[str], list[str]]:
    """Return the keys that lead to an error, as in the file, and the known keys of its section.

    In a union of schemas, pydantic's path also names the member of the union; it is left out. For an
    error in the union itself, the known keys are the values of `kind`.
    """
    keys: list[str] = []
    known_keys = list(schema.model_fields)
    annotation: Any = schema
    for part in loc:
        annotation, is_tag = _step(annotation, part)
        if not is_tag:
            keys.append(str(part))
        sections = [member for member in _members(annotation) if _is_schema(member)]
        if len(sections) > 1:
            known_keys = [name for section in sections for name in _kinds(section)]
        elif sections and part != loc[-1]:
            known_keys = list(sections[0].model_fields)
    return keys, known_keys


def _step(annotation: Any, part: Any) -> tuple[Any, bool]:
    """Return the annotation of `part` within `annotation`, and whether `part` names a union member."""
    members = _members(annotation)
    for member in members:
        if _is_schema(member):
            if len(members) > 1 and part in _kinds(member):
                return member, True
            if part in member.model_fields:
                return member.model_fields[part].annotation, False
        if get_origin(member) is dict:
            return get_args(member)[1], False
    return None, False


def _members(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows: the members of a union, without None and Annotated."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [
            member
            for part in get_args(annotation)
            if part is not type(None)
            for member in _members(part)
        ]
    return [] if annotation is None or get_origin(annotation) is Literal else [annotation]


def _kinds(schema: type[BaseModel]) -> tuple[str, ...]:
    """Return the values of the key `kind` that select a member of a union of schemas."""
    return get_args(schema.model_fields["kind"].annotation)


def _is_schema(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
