"""benchmarks/mutations.py and mutants.py: which bugs are put in, and how they are shown."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import mutants
import mutations


def mutants_of(text: str) -> dict[str, str]:
    """By the word for a change: the program with that bug. The last of a kind counts."""
    tree = ast.parse(text)
    found = {}
    for number, word in mutations.places(tree):
        changed, _, _ = mutations.mutated(tree, number, word)
        found[word] = ast.unparse(changed)
    return found


@pytest.mark.parametrize(
    ("text", "word", "changed"),
    [
        ("x = a < b", "compare", "x = a <= b"),
        ("x = a + b", "operator", "x = a - b"),
        ("x = a and b", "and/or", "x = a or b"),
        ("x = a if b else c", "not", "x = a if not b else c"),
        ("x = True", "bool", "x = False"),
        ("x = 3", "number", "x = 4"),
        ("x = f(a, b, c)", "swapped", "x = f(b, a, c)"),
        ("x = a[1:n]", "slice", "x = a[:n]"),
        ("x = a", "left out", "pass"),
        ("def f():\n    return a", "returns none", "def f():\n    return None"),
    ],
)
def test_each_bug(text: str, word: str, changed: str) -> None:
    assert mutants_of(text)[word] == changed


def test_what_is_left_alone() -> None:
    assert mutants_of("raise ValueError(1 + 2)") == {}
    assert mutants_of("import a\nfrom a import b") == {}
    assert mutants_of('"""A text."""') == {}
    assert mutants_of("@f(1, 2)\ndef g(x: A[1]) -> B[2]:\n    pass") == {}
    assert mutants_of("x: A[1]") == {}


def test_a_bug_is_shown_with_its_statement() -> None:
    """And without what is in that statement, so that it is one line."""
    text = "@kernel\ndef f(n=1):\n    if a < b:\n        c = 2\n"
    tree = ast.parse(text)
    shown = {}
    for number, word in mutations.places(tree):
        _, line, said = mutations.mutated(tree, number, word)
        shown[said] = line
    assert shown == {
        "number: def f(n=2):": 2,
        "not: if not a < b:": 3,
        "compare: if a <= b:": 3,
        "left out: c = 2": 4,
        "number: c = 3": 4,
    }


def test_a_line_that_was_half_written_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "tried.jsonl"
    whole = '{"module": "agent", "node": 1, "word": "not"}'
    file.write_text(f"{whole}\n{whole[:20]}\n\n{whole.replace('1', '2')}\n")
    assert list(mutants.read_tried(file)) == [("agent", 1, "not"), ("agent", 2, "not")]
