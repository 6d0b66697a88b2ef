"""Values of Python expressions that need no Python to be run: paths, patterns, lists of them."""

from __future__ import annotations

import ast
import glob
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trap_ops.records.names import one_line

# Of a path, of a list, and of all that is looked at: nobody writes more who means images.
_MAX_CHARACTERS = 4096
_MAX_ITEMS = 20_000
_MAX_WORK = 50_000
# Conversions of "%" and format strings that make no more characters than are written.
_PERCENT = re.compile(r"%(?:%|[sd]|0?\d{1,2}d)")
_SPEC = re.compile(r"(?:0?\d{1,2})?d?")


@dataclass(frozen=True)
class Pattern:
    """A pattern of paths, as ``glob.glob`` takes it; what it matches is not looked up."""

    text: str


@dataclass(frozen=True)
class Unknown:
    """What cannot be told without running the file: an expression or a statement."""

    node: ast.AST

    @property
    def line(self) -> int:
        """Where it begins, from 1."""
        return int(getattr(self.node, "lineno", 1))

    @property
    def what(self) -> str:
        """Its beginning, as it is written."""
        try:
            written = one_line(ast.unparse(self.node).split("\n", maxsplit=1)[0])
        except (RecursionError, MemoryError, ValueError):
            return "this"
        return written if len(written) <= 60 else f"{written[:57]}..."


class NotKnown(Exception):  # noqa: N818 - it is an answer, not an error
    """Ends the evaluation of an expression, with what of it cannot be told."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__()
        self.unknown = unknown


Item = str | Pattern
Value = str | int | bool | None | Pattern | list["Value"] | Unknown


class Expressions:
    """Evaluates expressions with the names of a module.

    Attributes
    ----------
    names : dict
        Values by name.
    modules : dict
        What imported names stand for, e.g. ``{"join": "os.path.join"}``.
    """

    def __init__(self) -> None:
        self.names: dict[str, Value] = {}
        self.modules: dict[str, str] = {}
        self._work = 0
        self._kinds: dict[type[ast.expr], Callable[[Any], Value]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            **dict.fromkeys((ast.List, ast.Tuple, ast.Set), self._items),
            ast.BinOp: self._binary,
            ast.JoinedStr: self._format_string,
            **dict.fromkeys((ast.ListComp, ast.GeneratorExp), self._comprehension),
            ast.Subscript: self._slice,
            ast.Call: self._call,
        }
        self._calls: dict[str, Callable[[ast.Call], Value]] = {
            "glob.glob": self._glob,
            "glob.iglob": self._glob,
            "os.listdir": self._listdir,
            "os.path.join": self._join,
            "os.path.expanduser": self._expanduser,
            **dict.fromkeys(("os.path.abspath", "os.path.normpath", "str"), self._same),
            **dict.fromkeys(("list", "tuple", "set", "sorted", "reversed"), self._list),
            "range": self._range,
        }

    def value(self, node: ast.expr) -> Value:
        """Value of an expression.

        Raises
        ------
        NotKnown
            If it cannot be told.
        """
        self.spend(1, node)
        if type(node) in self._kinds:
            return self._kinds[type(node)](node)
        raise not_known(node)

    def _constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, str | int | None):
            return checked(node.value, node)
        raise not_known(node)

    def _name(self, node: ast.Name) -> Value:
        if node.id not in self.names:
            raise not_known(node)
        found = self.names[node.id]
        if isinstance(found, Unknown):
            raise NotKnown(found)
        return found

    def _items(self, node: ast.List | ast.Tuple | ast.Set) -> Value:
        # The template has an ellipsis where paths are to be added.
        return [self.value(part) for part in node.elts if not _is_ellipsis(part)]

    def _binary(self, node: ast.BinOp) -> Value:
        if isinstance(node.op, ast.Add):
            return self._sum(node)
        if isinstance(node.op, ast.Mod):
            return self._percent(node)
        raise not_known(node)

    def _format_string(self, node: ast.JoinedStr) -> Value:
        return self._joined([self._formatted(part) for part in node.values], node)

    def called(self, node: ast.Call) -> str:
        """Full name of what is called, e.g. ``os.path.join``; empty if that is not known."""
        parts = []
        at: ast.expr = node.func
        while isinstance(at, ast.Attribute):
            parts.append(at.attr)
            at = at.value
        if not isinstance(at, ast.Name) or at.id in self.names:
            return ""
        return ".".join([self.modules.get(at.id, at.id), *reversed(parts)])

    def spend(self, steps: int, node: ast.AST) -> None:
        """Count what is looked at.

        Raises
        ------
        NotKnown
            If it is too much: a few lines with loops in them would take years.
        """
        self._work += steps
        if self._work > _MAX_WORK:
            raise not_known(node)

    def _call(self, node: ast.Call) -> Value:
        name = self.called(node)
        if name in self._calls and not any(isinstance(part, ast.Starred) for part in node.args):
            return self._calls[name](node)
        raise not_known(node)

    def _only(self, node: ast.Call) -> Value:
        if len(node.args) != 1:
            raise not_known(node)
        return self.value(node.args[0])

    def _glob(self, node: ast.Call) -> Value:
        text = self._only(node)
        if isinstance(text, str) and {key.arg for key in node.keywords} <= {"recursive"}:
            return [Pattern(text)]
        raise not_known(node)

    def _listdir(self, node: ast.Call) -> Value:
        if isinstance(self._only(node), str):
            return [Pattern("*")]
        raise not_known(node)

    def _join(self, node: ast.Call) -> Value:
        parts = [self.value(part) for part in node.args]
        for i, part in enumerate(parts[:-1]):
            following = parts[i + 1]
            after = following.text if isinstance(following, Pattern) else following
            if isinstance(part, str) and isinstance(after, str):
                # As os.path.join: an absolute part begins anew.
                parts[i] = "" if posixpath.isabs(after) else posixpath.join(part, "")
        return self._joined(parts, node)

    def _joined(self, parts: Iterable[Value], node: ast.expr) -> Value:
        """One text after the other; with a pattern among them, the sum is one."""
        items = list(parts)
        if not items or not all(isinstance(part, Item) for part in items):
            raise not_known(node)
        if all(isinstance(part, str) for part in items):
            return checked("".join(map(str, items)), node)
        texts = [p.text if isinstance(p, Pattern) else glob.escape(str(p)) for p in items]
        return checked(Pattern("".join(texts)), node)

    def _expanduser(self, node: ast.Call) -> Value:
        text = self._only(node)
        if isinstance(text, str):
            try:
                return str(Path(text).expanduser()) + ("/" if text.endswith("/") else "")
            except RuntimeError:  # A user of another machine.
                return text
        raise not_known(node)

    def _same(self, node: ast.Call) -> Value:
        text = self._only(node)
        if isinstance(text, Item):
            return text
        raise not_known(node)

    def _list(self, node: ast.Call) -> Value:
        """A list in another order: images are put in that of their times anyway."""
        items = self._only(node)
        if isinstance(items, list):
            self.spend(len(items), node)
            return list(items)
        raise not_known(node)

    def _range(self, node: ast.Call) -> Value:
        limits = [self.value(part) for part in node.args]
        whole = [limit for limit in limits if isinstance(limit, int)]
        if not 1 <= len(whole) == len(limits) <= 3 or whole[2:] == [0]:
            raise not_known(node)
        steps = range(*whole)
        # The length of a long range is no number that len() can tell.
        if steps[_MAX_ITEMS : _MAX_ITEMS + 1]:
            raise not_known(node)
        self.spend(len(steps), node)
        return list(steps)

    def _sum(self, node: ast.BinOp) -> Value:
        first, second = self.value(node.left), self.value(node.right)
        if isinstance(first, list) and isinstance(second, list):
            self.spend(len(first) + len(second), node)
            return checked(first + second, node)
        return self._joined([first, second], node)

    def _percent(self, node: ast.BinOp) -> Value:
        text, given = self.value(node.left), self.value(node.right)
        if not isinstance(text, str) or "%" in _PERCENT.sub("", text):
            raise not_known(node)
        try:
            # Patterns are no texts, and would be printed as what they are.
            parts = given if isinstance(given, list) else [given]
            if all(isinstance(part, str | int) for part in parts):
                return checked(text % tuple(parts), node)
        except (TypeError, ValueError):
            pass
        raise not_known(node)

    def _formatted(self, node: ast.expr) -> Value:
        """One part of an f-string."""
        if not isinstance(node, ast.FormattedValue):
            return self.value(node)
        value, spec = self.value(node.value), node.format_spec
        if spec is None and node.conversion == -1:
            return str(value) if isinstance(value, int) else value
        written = self.value(spec) if spec is not None else None
        if isinstance(value, int) and isinstance(written, str) and _SPEC.fullmatch(written):
            return checked(format(value, written), node)
        raise not_known(node)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Value:
        match node.generators:
            case [ast.comprehension(target=ast.Name(id=name), iter=source, ifs=tests)]:
                items = self.value(source)
            case _:
                raise not_known(node)
        if not isinstance(items, list):
            raise not_known(node)
        outside = dict(self.names)
        made: list[Value] = []
        try:
            for item in items:
                kept: Value | None = item
                for test in tests:
                    kept = None if kept is None else self._tested(kept, name, test)
                if kept is not None:
                    self.names[name] = kept
                    made.append(self.value(node.elt))
        finally:
            self.names = outside
        return made

    def _tested(self, item: Value, name: str, test: ast.expr) -> Value | None:
        """Return an item, or what is left of a pattern, that passes ``name.endswith("...")``."""
        match test:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=of), attr="endswith"),
                args=[ast.Constant(value=str() as end)],
                keywords=[],
            ) if of == name:
                if isinstance(item, str):
                    return item if item.endswith(end) else None
                if isinstance(item, Pattern) and item.text.endswith("*"):
                    return Pattern(item.text + glob.escape(end))
                if isinstance(item, Pattern) and item.text.endswith(end):
                    return item
        raise not_known(test)

    def _slice(self, node: ast.Subscript) -> Value:
        cut = node.slice
        if not isinstance(cut, ast.Slice):
            raise not_known(node)
        items = self.value(node.value)
        # Which of a pattern's files are the first ten only a look into the directory tells.
        plain = isinstance(items, list) and all(isinstance(item, str) for item in items)
        if not (isinstance(items, list) and plain):
            raise not_known(node)
        limits = [self._whole(at) for at in (cut.lower, cut.upper, cut.step)]
        if limits[2] == 0:
            raise not_known(node)
        self.spend(len(items), node)
        return items[limits[0] : limits[1] : limits[2]]

    def _whole(self, node: ast.expr | None) -> int | None:
        match node:
            case None:
                return None
            case ast.Constant(value=int() as number):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return -number
        raise not_known(node)


def not_known(node: ast.AST) -> NotKnown:
    """An expression or statement that only Python could tell."""
    return NotKnown(Unknown(node))


def checked(value: Value, node: ast.AST) -> Value:
    """Return a value that is not too large to be meant.

    Raises
    ------
    NotKnown
        If it is; a few doublings fill any memory.
    """
    text = value.text if isinstance(value, Pattern) else value
    if isinstance(text, str) and len(text) > _MAX_CHARACTERS:
        raise not_known(node)
    if isinstance(value, list) and len(value) > _MAX_ITEMS:
        raise not_known(node)
    return value


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis
