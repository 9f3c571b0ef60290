"""YAML that means one thing: no key twice, no scalar that another reader takes otherwise."""

import re
from pathlib import Path
from typing import Any

import yaml

from stages.shared.refusal import Refusal

# What YAML 1.1, here, and 1.2, in DVC, take for different things.
_TWO_MEANINGS = re.compile(
    r"[-+]?(0[0-7_]+|[\d_]*_[\d_.]*|\d+(:[0-5]?\d)+(\.\d*)?)|(?i:yes|no|on|off)"
)


class _Loader(yaml.SafeLoader):
    """Refuses a key written twice: the first would be dropped in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise Refusal(f"line {line}: the key {key!r} stands twice in its section")
            seen.append(key)
        return super().construct_mapping(node, deep)


def _one_meaning(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    if _TWO_MEANINGS.fullmatch(node.value):
        line = node.start_mark.line + 1
        raise Refusal(f"line {line}: {node.value!r} has two meanings in YAML, write it otherwise")
    kind = node.tag.rsplit(":", 1)[1]
    return getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(loader, node)


for _kind in ("int", "float", "bool"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _one_meaning)


def read_yaml(path: Path) -> Any:
    """Return what the YAML file `path` holds.

    Raises:
        Refusal: it is missing, is not UTF-8 or not YAML, holds a key twice in one section, or a
            scalar that YAML 1.1 and 1.2 read differently.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; run from the project's folder") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None
    except RecursionError:
        raise Refusal(f"{path}: nested too deeply to be params") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        raise Refusal(f"{path}: not YAML: {error}") from None
