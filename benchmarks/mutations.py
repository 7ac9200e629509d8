"""The small, realistic bugs that benchmarks/mutants.py puts into a file.

A place is a node of the file's syntax tree, by its number in the order of ast.walk, and a word for
the change: < becomes <=, + becomes -, a number is one off, a condition is the other way round, a
statement is left out, two arguments are swapped.
"""

import ast
import copy
from collections.abc import Iterator
from typing import Any

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
LEFT_ALONE = (
    ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr
)  # what errors say, too


def changes(node: Any) -> Iterator[tuple[str, Any]]:
    """The possible bugs at a node: a word for each, and a function that makes it in a copy."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "compare", lambda n: n.ops.__setitem__(0, COMPARISONS[type(n.ops[0])]())
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATIONS:
        yield "operator", lambda n: setattr(n, "op", OPERATIONS[type(n.op)]())
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "and/or", lambda n: setattr(n, "op", other())
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "not", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "bool", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "number", lambda n: setattr(n, "value", n.value + 1)
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        yield "swapped", lambda n: n.args.__setitem__(slice(2), n.args[1::-1])
    if isinstance(node, ast.Slice) and node.lower is not None:
        yield "slice", lambda n: setattr(n, "lower", None)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not is_text(node):
        yield "left out", None
    if isinstance(node, ast.Return) and node.value is not None:
        yield "returns none", lambda n: setattr(n, "value", ast.Constant(None))


def is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def places(tree: ast.Module) -> list[tuple[int, str]]:
    """Every mutant of a file: the number of its node in the order of ast.walk, and its change."""
    # annotations, messages of errors, imports, names of modules
    skipped: set[int] = set()
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        parts += [node] if isinstance(node, LEFT_ALONE) else []
        parts += getattr(node, "decorator_list", [])
        for part in filter(None, parts):
            skipped |= {id(inner) for inner in ast.walk(part)}
    return [
        (number, word)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped
        for word, _ in changes(node)
    ]


def mutated(tree: ast.Module, number: int, word: str) -> tuple[ast.Module, int, str]:
    """A copy of the tree with that change, the line, and the line as it then reads."""
    tree = copy.deepcopy(tree)
    node: Any = list(ast.walk(tree))[number]
    change = dict(changes(node))[word]
    if change is None:
        shown = f"left out: {ast.unparse(node)}"
        node_as_pass(tree, node)
    else:
        change(node)
        shown = ast.unparse(node)
    return ast.fix_missing_locations(tree), node.lineno, f"{word}: {shown[:200]}"


def node_as_pass(tree: ast.Module, node: Any) -> None:
    for parent in ast.walk(tree):
        for _, block in ast.iter_fields(parent):
            if isinstance(block, list) and node in block:
                block[block.index(node)] = ast.copy_location(ast.Pass(), node)
