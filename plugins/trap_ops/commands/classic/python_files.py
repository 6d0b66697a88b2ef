"""``images_to_process.py`` and ``celeryconfig.py``: their assignments, without running them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trap_ops.commands.classic.python_text import parse_python
from trap_ops.commands.classic.python_values import (
    Expressions,
    NotKnown,
    Pattern,
    Unknown,
    Value,
    checked,
    not_known,
)
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

# What may be done with a name without changing what it holds.
_HARMLESS = {"print", "len", "pprint.pprint", "sys.stdout.write"}
# `images`; before release 2 it was called otherwise.
IMAGE_NAMES = ("images", "datafiles")


@dataclass(frozen=True)
class ListedImages:
    """Images that a file lists.

    Attributes
    ----------
    lines : tuple of str
        Paths and patterns, as they are written in ``images.txt``.
    problems : tuple of str
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...] = ()


def listed_images(text: str, name: str) -> ListedImages:
    """Read a list of images.

    Parameters
    ----------
    text : str
        Of ``images_to_process.py``.
    name : str
        Of the file, for messages.
    """
    try:
        names = assigned(text, name)
    except ConfigError as error:
        return ListedImages((), (f"{error.message}; {_REMEDY}",))
    chosen = next((word for word in IMAGE_NAMES if word in names), None)
    if chosen is None:
        return ListedImages((), (f"{name}: there is no list `images`; {_REMEDY}",))
    images = names[chosen]
    if isinstance(images, Unknown):
        msg = f"{name}, line {images.line}: only Python could tell what `{images.what}` is"
        return ListedImages((), (f"{msg}; {_REMEDY}",))
    items = images if isinstance(images, list) else [images]
    lines, problems = [], []
    for item in items:
        line = item.text if isinstance(item, Pattern) else item
        if not isinstance(line, str) or not line.strip() or one_line(line) != line:
            problems.append(f"{name}: `{chosen}` holds {_shown(item)}, which is no path")
        else:
            lines.append(line)
    return ListedImages(tuple(dict.fromkeys(lines)), tuple(problems))


_REMEDY = "write the paths into images.txt, one a line"


def _shown(item: Value) -> str:
    text = ascii(item)
    return text if len(text) <= 60 else f"{text[:57]}..."


def assigned(text: str, name: str) -> dict[str, Value]:
    """Values of the names that a Python file assigns, those it computes as ``Unknown``.

    Raises
    ------
    ConfigError
        If it is no Python.
    """
    module = _Module()
    for statement in parse_python(text, name):
        module.follow(statement)
    return module.expressions.names


class _Module:
    """Follows the statements of a module."""

    def __init__(self) -> None:
        self.expressions = Expressions()
        self._kinds: dict[type[ast.stmt], Callable[[Any], None]] = {
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Assign: self._assign,
            ast.AnnAssign: self._assign,
            ast.AugAssign: self._add,
            ast.Expr: self._expression,
            ast.For: self._repeat,
            ast.If: self._if,
            ast.Pass: lambda _node: None,
        }

    def follow(self, node: ast.stmt) -> None:
        """Do what a statement does to the names."""
        try:
            if type(node) not in self._kinds:
                raise not_known(node)
            self._kinds[type(node)](node)
        except NotKnown as answer:
            self._forget(node, answer.unknown)
        except RecursionError:
            self._forget(node, Unknown(node))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for part in node.names:
            if isinstance(node, ast.ImportFrom):
                full = f"{node.module}.{part.name}"
                self.expressions.modules[part.asname or part.name] = full
            elif part.asname:
                self.expressions.modules[part.asname] = part.name

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if len(names) < len(targets) or node.value is None:
            raise not_known(node)
        self._set(names, node.value)

    def _set(self, names: Iterable[str], value: ast.expr) -> None:
        found = self.expressions.value(value)
        self.expressions.names |= dict.fromkeys(names, found)

    def _add(self, node: ast.AugAssign) -> None:
        if not isinstance(node.op, ast.Add) or not isinstance(node.target, ast.Name):
            raise not_known(node)
        name = node.target.id
        held = self.expressions.names.get(name)
        if isinstance(held, list):
            self._extend(held, self.expressions.value(node.value), node)
        else:
            both = ast.BinOp(ast.Name(name), ast.Add(), node.value)
            self._set([name], ast.copy_location(both, node))

    def _extend(self, held: list[Value], more: Value, node: ast.AST) -> None:
        """Make a list longer: the same one, which may have other names too."""
        if not isinstance(more, list):
            raise not_known(node)
        self.expressions.spend(len(more), node)
        held += more
        checked(held, node)

    def _expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._call(node.value)
        elif not isinstance(node.value, ast.Constant):
            raise not_known(node)

    def _call(self, node: ast.Call) -> None:
        """Do what a method does to a list; other calls may do anything to what they are given."""
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name) as owner, attr=method), keywords=keys
            ) if isinstance(self.expressions.names.get(name), list | Unknown):
                if method in {"sort", "reverse"} and not node.args:
                    return
                if len(node.args) != 1 or keys or method not in {"append", "extend"}:
                    raise not_known(node)
                held, given = self.expressions.value(owner), self.expressions.value(node.args[0])
                if not isinstance(held, list):
                    raise not_known(node)
                self._extend(held, [given] if method == "append" else given, node)
            case _ if self.expressions.called(node) not in _HARMLESS:
                raise not_known(node)

    def _only_looks(self, node: ast.stmt) -> bool:
        match node:
            case ast.Pass():
                return True
            case ast.Expr(value=ast.Call() as call):
                return self.expressions.called(call) in _HARMLESS
        return False

    def _repeat(self, node: ast.For) -> None:
        if all(map(self._only_looks, node.body)):
            return  # The template prints its list.
        items = self.expressions.value(node.iter)
        if not (isinstance(items, list) and isinstance(node.target, ast.Name)):
            raise not_known(node)
        if node.orelse or any(isinstance(part, ast.For) for part in node.body):
            raise not_known(node)
        # The list itself may grow in its own loop.
        for item in list(items):
            # What cannot be told inside is forgotten there, so that the loop itself must end.
            self.expressions.spend(1, node)
            self.expressions.names[node.target.id] = item
            for part in node.body:
                self.follow(part)

    def _if(self, node: ast.If) -> None:
        """Pass over what is for those who run the file."""
        match node.test:
            case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]) if not node.orelse:
                return
        raise not_known(node)

    def _forget(self, node: ast.stmt, why: Unknown) -> None:
        """No longer know the names that a statement may change."""
        for part in ast.walk(node):
            match part:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                    self.expressions.names[name] = why
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    self.expressions.names[name] = why
                case ast.Call(func=ast.Name(id="exec" | "execfile" | "globals")):
                    self.expressions.names |= dict.fromkeys(self.expressions.names, why)
                case ast.Call(func=function, args=given):
                    touched = [function.value] if isinstance(function, ast.Attribute) else []
                    for name in (at.id for at in [*touched, *given] if isinstance(at, ast.Name)):
                        if name in self.expressions.names:
                            self.expressions.names[name] = why
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                    self.expressions.names[name] = why
