"""The part of a source file that can change a result: no comments, docstrings or layout.

Unlike `ast.dump` and bytecode it is the same in every version of Python.
"""

import ast
import re
from pathlib import Path
from typing import Any

IGNORED = ("kind", "type_comment", "ctx")  # of nodes: u"" or "", and what the parent implies
TREE = (ast.AST, list)
READERS = (".py", ".c")  # stubs (.pyi) do not run

# Comments, or what looks like one within a string or a character, which stays.
_C_COMMENT = re.compile(r"""//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", re.DOTALL)
_C_TOKEN = re.compile(
    r"""
    "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*'           # strings and characters
    | \.?\d(?:[eEpP][+-]|[\w.])*                    # numbers
    | [A-Za-z_]\w*
    | <<= | >>= | \.\.\. | \#\# | [-+*/%&|^!=<>]= | \+\+ | -- | -> | << | >> | && | \|\|
    | \S
    """,
    re.VERBOSE,
)


def significant(path: Path) -> str:
    """The part of a source file that can change what comes out, as text to be hashed.

    Args:
        path: of Python or C.

    Raises:
        SyntaxError: it is not Python.
    """
    text = path.read_text(encoding="utf-8")
    return _of_c(text) if path.suffix == ".c" else _of_python(ast.parse(text))


def _of_python(tree: ast.AST) -> str:
    """The tree in brackets, without empty fields, which differ between versions of Python."""
    parts: list[str] = []
    stack: list[Any] = [tree]  # no recursion: a call a node would take most of the time
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        inside: list[Any]  # nodes and lists; text of what is written as it is
        if isinstance(node, ast.AST):
            inside = [f"({type(node).__name__}"]
            for name in node._fields:
                value = getattr(node, name, None)
                if value is None or value == [] or name in IGNORED:
                    continue
                if name == "body" and isinstance(value, list):  # and not of a lambda
                    value = [part for part in value if not _is_text(part)]
                inside += [f" {name}=", value if isinstance(value, TREE) else ascii(value)]
            inside.append(")")
        else:
            inside = ["[", *(part if isinstance(part, TREE) else ascii(part) for part in node), "]"]
        stack += reversed(inside)
    return "".join(parts)


def _is_text(part: ast.AST) -> bool:
    """A docstring: of a module, class or function or, after it, of a field."""
    return (
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Constant)
        and isinstance(part.value.value, str)
    )


def _of_c(text: str) -> str:
    plain = _C_COMMENT.sub(lambda match: match[1] or " ", text.replace("\\\n", " "))
    parts: list[str] = []
    for line in plain.splitlines():
        if line.lstrip().startswith("#"):  # a directive ends with its line, and spaces count in it
            parts += ["", " ".join(line.split()), ""]
        else:
            parts += _C_TOKEN.findall(line)
    return "\n".join(parts)
