"""The part of YAML that configuration needs: mappings with text keys, lists, text, numbers, true, false and null.

Whatever else YAML can say is refused with its place: anchors and aliases (a file of a kilobyte can stand for
gigabytes), tags, dates, merge keys, keys that are no text or stand twice, numbers that are not finite, and nesting
that no file of ours has.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from yaml import MappingNode, Mark, Node, SafeLoader, ScalarNode

_DEEPEST = 40
_TAG = "tag:yaml.org,2002:"
_SCALARS = tuple(_TAG + name for name in ("null", "bool", "int", "float", "str"))


class SubsetError(ValueError):
    """What a text holds that the subset does not know, with line and column."""


def load(text: str) -> Any:
    """The document in `text`, of JSON's types; raises SubsetError."""
    import yaml

    try:
        return _loader()(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise SubsetError(_placed(what, error.problem_mark)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise SubsetError(" ".join(str(error).split()) or "it is nested too deep") from error
    except ValueError as error:
        if isinstance(error, SubsetError):
            raise
        raise SubsetError(str(error)) from error


def _placed(what: str, mark: Mark | None) -> str:
    return what if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {what}"


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader, narrowed; made on first use, since PyYAML is imported on first use."""
    import yaml

    members = {
        "depth": 0,
        "compose_node": _compose_node,
        "construct_mapping": _construct_mapping,
        "construct_scalar": _construct_scalar,
    }
    loader: Any = type("Loader", (yaml.SafeLoader,), members)
    for name in ("timestamp", "binary", "omap", "pairs", "set", "merge", "value"):
        loader.add_constructor(_TAG + name, _refuse)
    loader.add_constructor(_TAG + "float", _number)
    return loader


def _compose_node(self: Any, parent: Node | None, index: int) -> Node | None:
    import yaml

    event = self.peek_event()
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise SubsetError(_placed("anchors and aliases are not supported; write the value out", event.start_mark))
    if getattr(event, "tag", None) is not None:
        raise SubsetError(_placed(f"the tag {event.tag} is not supported", event.start_mark))
    self.depth += 1
    if self.depth > _DEEPEST:
        raise SubsetError(_placed(f"more than {_DEEPEST} levels deep", event.start_mark))
    node = yaml.SafeLoader.compose_node(self, parent, index)
    self.depth -= 1
    return node


def _construct_mapping(self: SafeLoader, node: MappingNode, deep: bool = False) -> dict[Hashable, object]:
    import yaml

    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != _TAG + "str":
            raise SubsetError(_placed("a key must be text; put it in quotes", key.start_mark))
        if key.value in seen:
            raise SubsetError(_placed(f"the key {key.value!r} stands twice", key.start_mark))
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(self, node, deep)


def _construct_scalar(self: SafeLoader, node: ScalarNode) -> object:
    import yaml

    if node.tag not in _SCALARS:
        _refuse(self, node)
    return yaml.SafeLoader.construct_scalar(self, node)


def _refuse(_: object, node: Node) -> NoReturn:
    kind = node.tag.removeprefix(_TAG)
    raise SubsetError(_placed(f"a {kind} is not supported; put it in quotes", node.start_mark))


def _number(self: SafeLoader, node: ScalarNode) -> float:
    import yaml

    value = float(yaml.SafeLoader.construct_yaml_float(self, node))
    if not math.isfinite(value):
        raise SubsetError(_placed(f"{node.value} is not a finite number", node.start_mark))
    return value
