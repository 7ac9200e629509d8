"""How long the code is: lines of each file, and of them lines of code.

Code is what is left without blank lines, comments and docstrings.

    python benchmarks/lines.py
"""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "minidqn"
LESSON = (
    "nn/layers.py",
    "nn/network.py",
    "nn/adam.py",
    "nn/jit.py",
    "targets.py",
    "policy.py",
    "replay.py",
    "batch.py",
    "schedules.py",
    "config.py",
    "qnetwork.py",
    "agent.py",
)
NOTHING = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef


def code_lines(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOTHING:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def table() -> dict[str, tuple[int, int]]:
    """Lines, and lines of code, of every file of the package, by its name in it."""
    return {
        path.relative_to(PACKAGE).as_posix(): (
            len(path.read_text(encoding="utf-8").splitlines()),
            code_lines(path),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def main() -> None:
    files = table()
    for name, (lines, code) in files.items():
        print(f"{lines:5} {code:5}  {name}")
    lesson = [files[name] for name in LESSON]
    for what, chosen in (("the lesson", lesson), ("all of it", list(files.values()))):
        print(f"{sum(n for n, _ in chosen):5} {sum(n for _, n in chosen):5}  {what}")


if __name__ == "__main__":
    main()
