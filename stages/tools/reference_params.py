"""The params of docs/reference.md: what each key allows, whether it is required, its meaning."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.task import STAGES
from stages.kinds.params import FILE, Params
from stages.kinds.registry import KINDS
from stages.report.formatting import markdown_table

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "null": "`null`",
    "object": "section",
}
_HEADER = ("key", "allowed", "required", "meaning")
Row = tuple[str, str, str, str]


class ParamTable:
    """The rows of params.

    Args:
        schema: JSON schema of all sections; its "$defs" are what `$ref` names.
        meanings: of keys that have no comment, by the end of the key: `epochs`,
            `vae.epochs`.
    """

    def __init__(self, schema: Mapping[str, Any], meanings: Mapping[str, str]) -> None:
        self.schema, self.meanings = schema, meanings

    def rows(self, path: str, section: Any) -> list[Row]:
        """Return a row for each param below a key of the schema.

        Args:
            path: the key: `train`.
            section: the mapping with that key, with the comments beside its keys.
        """
        return list(self._rows(self.schema["properties"][path], path, section, required=True))

    def _rows(
        self, schema: Mapping[str, Any], path: str, section: Any, *, required: bool
    ) -> Iterator[Row]:
        key = path.rpartition(".")[2]
        members = [self._resolve(member) for member in schema.get("anyOf", [schema])]
        nested = next((member for member in members if "properties" in member), None)
        if nested is None or len(members) > 1:
            allowed = self._allowed(schema)
            needed = "yes" if required else "no"
            yield f"`{path}`", allowed, needed, self._meaning(path, section, allowed)
        if nested is not None:
            inner = section.get(key) or {}
            for name, item in nested["properties"].items():
                is_required = name in nested.get("required", ())
                yield from self._rows(item, f"{path}.{name}", inner, required=is_required)

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        target = schema.get("$ref", "").rpartition("/")[2]
        resolved: Mapping[str, Any] = self.schema["$defs"][target] if target else schema
        return resolved

    def _allowed(self, schema: Mapping[str, Any]) -> str:
        """Return what a JSON schema allows: "whole number, at least 1"."""
        if "anyOf" in schema:
            return " or ".join(self._allowed(member) for member in schema["anyOf"])
        schema = self._resolve(schema)
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            return ", ".join(f"`{value}`" for value in schema["enum"])
        if schema["type"] == "array":
            least = f" of at least {schema['minItems']}" if "minItems" in schema else ""
            return f"list{least}: {self._allowed(schema['items'])}"
        return _TYPES[schema["type"]] + format_range(schema)

    def _meaning(self, path: str, section: Any, allowed: str) -> str:
        """Return the comment beside a key, or what `meanings` says of it.

        A comment that only lists the allowed values counts as none.

        Raises:
            UserError: neither says anything of a key that has a place in the section.
        """
        comment = _comment(section, path.rpartition(".")[2])
        if comment.split(" | ") == allowed.replace("`", "").split(", "):
            comment = ""
        parts = path.split(".")
        ends = (".".join(parts[index:]) for index in range(len(parts)))
        meaning = comment or next((self.meanings[end] for end in ends if end in self.meanings), "")
        if not meaning and parts[-1] in section:
            raise UserError(f"{path} has no comment, and reference.yaml no meaning of it")
        return meaning


def params_sections(meanings: Mapping[str, str]) -> Iterator[str]:
    """Yield the tables of params: those that all tasks share, then those of each kind.

    Comments are those of params.yaml and of the kinds' templates, not of single tasks.
    """
    shared = _read_commented(FILE.read_text(encoding="utf-8"))
    yield "### Shared by all tasks"
    table = ParamTable(Params.model_json_schema(), meanings)
    rows = [row for name in ("runtime", "tolerance", "cluster") for row in table.rows(name, shared)]
    yield markdown_table(_HEADER, rows)
    for kind in KINDS.values():
        template = Path(f"stages/kinds/{kind.name}/template.yaml").read_text(encoding="utf-8")
        template = re.sub(r"(?m)^ *\{\w+\}$", "", template)  # placeholders of whole lines
        (section,) = _read_commented(re.sub(r"\{(\w+)\}", r"\1", template)).values()
        table = ParamTable(kind.schema.model_json_schema(), meanings)
        yield f"### {kind.title[0].upper()}{kind.title[1:]}"
        yield f"`kind: {kind.name}`. Keys are below `tasks.<task>`."
        yield markdown_table(
            _HEADER, [row for stage in STAGES for row in table.rows(stage, section)]
        )


def _read_commented(text: str) -> Any:
    """Return the content of YAML; each mapping keeps its comments."""
    from ruamel.yaml import YAML

    return YAML().load(text)


def format_range(schema: Mapping[str, Any]) -> str:
    """Return the range of a JSON schema's numbers: ", 1 to 256", ", above 0 and below 1"."""
    low, high, below = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMaximum"))
    if schema["type"] == "integer" and below is not None:
        high, below = below - 1, None
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    bounds = {
        "above": schema.get("exclusiveMinimum"),
        "at least": low,
        "below": below,
        "at most": high,
    }
    parts = [f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None]
    return f", {' and '.join(parts)}" if parts else ""


def _comment(section: Any, key: str) -> str:
    """Return the comment beside a key of a mapping that keeps its comments; "" if there is none."""
    tokens = section.ca.items.get(key) if hasattr(section, "ca") else None
    token = next((token for token in tokens or () if hasattr(token, "value")), None)
    return str(token.value).split("\n")[0].strip("# ") if token else ""
