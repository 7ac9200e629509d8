"""The small, realistic bugs that benchmarks/mutants.py puts into a file.

A place is a node of the file's syntax tree, by its number in the order of ast.walk, and a word for
the change: < becomes <=, + becomes -, and becomes or, True becomes False, a number is one off, a
condition is the other way round, two arguments are swapped, a slice begins at 0, a statement is
left out, None is returned.
"""

import ast
import copy
from collections.abc import Callable, Iterator
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
# no bugs in what errors say, in imports, and in texts with values in them
LEFT_ALONE = ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr


# --- Whether a node has a place for a bug, and the bug


def has_comparison(node: Any) -> bool:
    return isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS


def other_comparison(node: Any) -> None:
    node.ops[0] = COMPARISONS[type(node.ops[0])]()


def has_operation(node: Any) -> bool:
    is_operation = isinstance(node, ast.BinOp | ast.AugAssign)
    return is_operation and type(node.op) in OPERATIONS


def other_operation(node: Any) -> None:
    node.op = OPERATIONS[type(node.op)]()


def is_and_or(node: Any) -> bool:
    return isinstance(node, ast.BoolOp)


def other_of_and_or(node: Any) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def has_condition(node: Any) -> bool:
    return isinstance(node, ast.If | ast.IfExp | ast.While)


def opposite_condition(node: Any) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def is_truth_value(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def other_truth_value(node: Any) -> None:
    node.value = not node.value


def is_number(node: Any) -> bool:
    if not isinstance(node, ast.Constant) or is_truth_value(node):
        return False
    return isinstance(node.value, int | float)


def one_more(node: Any) -> None:
    node.value += 1


def has_two_arguments(node: Any) -> bool:
    return isinstance(node, ast.Call) and len(node.args) >= 2


def swap_arguments(node: Any) -> None:
    first, second, *others = node.args
    node.args = [second, first, *others]


def has_lower_bound(node: Any) -> bool:
    return isinstance(node, ast.Slice) and node.lower is not None


def no_lower_bound(node: Any) -> None:
    node.lower = None


def is_action(node: Any) -> bool:
    is_statement = isinstance(node, ast.Assign | ast.AugAssign | ast.Expr)
    return is_statement and not is_text(node)


def is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def returns_something(node: Any) -> bool:
    return isinstance(node, ast.Return) and node.value is not None


def return_none(node: Any) -> None:
    node.value = ast.Constant(None)


# a word, whether a node can have the bug, and what makes it. A statement cannot remove itself:
# `mutated` does that, so there is None
CHANGES: tuple[tuple[str, Callable[[Any], bool], Callable[[Any], None] | None], ...] = (
    ("compare", has_comparison, other_comparison),
    ("operator", has_operation, other_operation),
    ("and/or", is_and_or, other_of_and_or),
    ("not", has_condition, opposite_condition),
    ("bool", is_truth_value, other_truth_value),
    ("number", is_number, one_more),
    ("swapped", has_two_arguments, swap_arguments),
    ("slice", has_lower_bound, no_lower_bound),
    ("left out", is_action, None),
    ("returns none", returns_something, return_none),
)


def changes(node: Any) -> Iterator[tuple[str, Callable[[Any], None] | None]]:
    """The possible bugs at a node: a word for each, and a function that makes it in a copy."""
    for word, fits, make in CHANGES:
        if fits(node):
            yield word, make


# --- The bugs of a file


def places(tree: ast.Module) -> list[tuple[int, str]]:
    """Every mutant of a file: the number of its node in the order of ast.walk, and its change."""
    # annotations and decorators are no code of the function either
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
    """A copy of the tree with that change, its line, and its statement as it then reads."""
    tree = copy.deepcopy(tree)
    node: Any = list(ast.walk(tree))[number]
    change = dict(changes(node))[word]
    statement = statement_of(tree, node)
    if change is None:
        shown = first_line(statement)
        node_as_pass(tree, node)
    else:
        change(node)
        shown = first_line(statement)
    return ast.fix_missing_locations(tree), node.lineno, f"{word}: {shown[:200]}"


def statement_of(tree: ast.Module, node: Any) -> ast.stmt:
    """The innermost statement that has a node in it."""
    found: list[ast.stmt] = []
    for each in ast.walk(tree):  # from the outside to the inside
        if isinstance(each, ast.stmt) and any(
            inner is node for inner in ast.walk(each)
        ):
            found.append(each)
    return found[-1]


def first_line(statement: ast.stmt) -> str:
    """A statement without the lines that are in it, and without decorators."""
    lines = ast.unparse(statement).splitlines()
    return next(line for line in lines if not line.startswith("@"))


def node_as_pass(tree: ast.Module, node: Any) -> None:
    for parent in ast.walk(tree):
        for _, block in ast.iter_fields(parent):
            if isinstance(block, list) and node in block:
                block[block.index(node)] = ast.copy_location(ast.Pass(), node)
