"""YAML 1.2: duplicate keys are errors, values follow the core schema, keys know their lines.

YAML 1.1 reads `yes` as true, 010 as 8, 1:30 as 90 and 1e-4 as text; the core schema of YAML 1.2
(yaml.org/spec/1.2.2, section 10.3) does not. ruamel.yaml parses; values are made of its nodes here,
since its own constructors allow a duplicate key beside a merge (`<<`).
"""

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver, implicit_resolvers

_TAG = "tag:yaml.org,2002:"
# Scalars without quotes and tags; anything else is text.
_CORE_SCHEMA = {
    "null": re.compile(r"(?:null|Null|NULL|~|)$"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    "merge": re.compile(r"<<$"),
}
Position = tuple[int, int]
"""Line and column, both from 1."""


class YamlError(ValueError):
    """Not YAML 1.2, or a duplicate key; with the position where known."""

    def __init__(self, problem: str, position: Position | None = None) -> None:
        super().__init__(
            problem if position is None else f"line {position[0]}, column {position[1]}: {problem}"
        )


class Located(dict[str, Any]):
    """A mapping with the positions of its keys and values in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_at: dict[str, Position] = {}
        self.values_at: dict[str, Position] = {}

    def put(self, key: str, value: object) -> None:
        """Set a value that is not from the file."""
        self[key] = value
        self.keys_at.pop(key, None)
        self.values_at.pop(key, None)


def loads(text: str | bytes) -> Any:
    """The value of a YAML text, mappings as `Located`; bytes are UTF-8, or UTF-16 with a BOM.

    Raises:
        YamlError: not YAML 1.2, a duplicate key, a key that is no text, or an unknown tag.
    """
    try:
        parser = _yaml(_Reading)
        node: Node | None = parser.compose(text)
        if parser.version == (1, 1):
            raise YamlError(
                "expected YAML 1.2, found %YAML 1.1, which reads numbers otherwise", (1, 1)
            )
        return None if node is None else _Values().of(node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(problem, None if mark is None else _position(mark)) from error
    except ReaderError as error:
        raise YamlError(
            f"expected UTF-8 text, found {error.character:#04x}, {error.reason}"
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise YamlError(str(error)) from error
    except RecursionError as error:
        raise YamlError("expected fewer sections within sections") from error


def dumps(content: object) -> str:
    """YAML that versions 1.1 and 1.2 read alike; keys keep their order."""
    yaml = _yaml(_Writing)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    text = StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def unread(text: str) -> str:
    """The text after the value of a one-line text, i.e. a comment."""
    node = _yaml(_Reading).compose(text)
    return "" if node is None else text[node.end_mark.index :].strip()


def _yaml(resolver: type[VersionedResolver]) -> YAML:
    yaml = YAML(typ="safe", pure=True, plug_ins=[])
    yaml.Resolver = resolver
    return yaml


def _table(rules: list[tuple[str, Any]]) -> dict[Any, list[tuple[str, Any]]]:
    """The rules under every first character, as ruamel's resolver looks them up."""
    characters = ["", *map(chr, range(33, 127))]
    return dict.fromkeys(characters, rules)


class _Reading(VersionedResolver):
    """The core schema, whatever version a file states."""

    table = _table([(_TAG + kind, pattern) for kind, pattern in _CORE_SCHEMA.items()])

    @property
    def versioned_resolver(self) -> Any:
        return self.table


class _Writing(_Reading):
    """Also quotes text that YAML 1.1 would read as something else."""

    table = _table(
        [(_TAG + kind, pattern) for kind, pattern in _CORE_SCHEMA.items()]
        + [(tag, pattern) for _, tag, pattern, _ in implicit_resolvers]
    )


class _Representer(SafeRepresenter):
    def represent_float(self, data: float) -> Any:
        """1.0e-05, since YAML 1.1 reads 1e-05 as text."""
        node = super().represent_float(data)
        if "e" in node.value and "." not in node.value:
            node.value = node.value.replace("e", ".0e", 1)
        return node

    def represent_str(self, data: str) -> Any:
        """Escaped where unusual line breaks would be folded into spaces."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar(_TAG + "str", data, style=style)


_Representer.add_representer(float, _Representer.represent_float)
_Representer.add_representer(str, _Representer.represent_str)
_Representer.add_representer(Located, _Representer.represent_dict)


class _Values:
    """Values of one text's nodes; an aliased node is made once."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()

    def of(self, node: Node) -> Any:
        if id(node) in self._open:
            raise YamlError("expected an alias of something else, found itself", _start(node))
        if id(node) not in self._made:
            self._open.add(id(node))
            self._made[id(node)] = self._make(node)
            self._open.remove(id(node))
        return self._made[id(node)]

    def _make(self, node: Node) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.of(item) for item in node.value]
        if isinstance(node, ScalarNode) and kind in ("str", "merge"):
            return str(node.value)
        pattern = _CORE_SCHEMA.get(kind)
        if not isinstance(node, ScalarNode) or pattern is None:
            raise YamlError(f"expected no tag like {node.tag}; leave it out", _start(node))
        if not pattern.match(node.value):
            raise YamlError(f"expected a value of {node.tag}, found {node.value!r}", _start(node))
        try:
            return _scalar(kind, node.value)
        except ValueError as error:  # more digits than Python reads
            raise YamlError(str(error), _start(node)) from error

    def _mapping(self, node: MappingNode) -> Located:
        own, merged = Located(), Located()
        for key_node, value_node in node.value:
            key = self.of(key_node)
            if not isinstance(key, str):
                raise YamlError(
                    f"expected text for a key, found {key!r}; quote it if it is meant",
                    _start(key_node),
                )
            if key in own.keys_at:
                raise YamlError(
                    f"the key {key} is given twice, first in line {own.keys_at[key][0]}; "
                    "leave one of them",
                    _start(key_node),
                )
            own[key] = self.of(value_node)
            own.keys_at[key], own.values_at[key] = _start(key_node), _start(value_node)
            if key_node.tag == _TAG + "merge":
                _merge(merged, own.pop(key), _start(value_node))
        merged.update(own)
        merged.keys_at.update(own.keys_at)
        merged.values_at.update(own.values_at)
        return merged


def _merge(into: Located, found: object, position: Position) -> None:
    """Add the keys of a mapping, or of a list of mappings, where the first one wins."""
    for part in found if isinstance(found, list) else [found]:
        if not isinstance(part, Located):
            raise YamlError(f"expected sections to merge, found {part!r}", position)
        for key in part.keys() - into.keys():
            into[key] = part[key]
            into.keys_at[key], into.values_at[key] = part.keys_at[key], part.values_at[key]


def _scalar(kind: str, text: str) -> object:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _position(mark: Any) -> Position:
    return mark.line + 1, mark.column + 1


def _start(node: Node) -> Position:
    return _position(node.start_mark)
