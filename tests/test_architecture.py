"""Who may import whom, and how long code may get: read from the code itself.

the lesson    plain DQN, and nn, which is backpropagation alone
the parts     what came after 2015: minidqn/parts
the lab       everything around an agent: minidqn/lab
the page      examples/one_page.py, which has nothing of minidqn
"""

import ast
import re
import sys
from pathlib import Path

import pytest

import minidqn
from minidqn.lab.code import WITHOUT_NUMBERS

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from tests_for import TESTS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(minidqn.__file__).parent
PAGE = ROOT / "examples" / "one_page.py"
STANDARD = sys.stdlib_module_names


def name_of(path: Path) -> str:
    """The module's dotted name, without "minidqn": "" is the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def in_room(room: str) -> set[str]:
    """The modules of a folder, and the folder itself."""
    return {name for name in FILES if name == room or name.startswith(f"{room}.")}


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}
NN = in_room("nn")
PARTS = in_room("parts")
EXAMPLES = in_room("examples")
LAB = in_room("lab") | {"__main__"}
LESSON = FILES.keys() - NN - PARTS - LAB - EXAMPLES - {""}
PLAIN = LESSON - {"agent", "assembly"}


def imports(path: Path) -> set[str]:
    """All that a file imports, wherever in it; minidqn's modules with a dot first."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            base = node.module or ""
            inside = {f"{base}.{alias.name}" for alias in node.names}
            modules = {
                name for name in inside if name.removeprefix("minidqn.") in FILES
            }
            found |= modules or {base}
    return {
        "." + name.removeprefix("minidqn").lstrip(".")
        if name.split(".")[0] == "minidqn"
        else name.split(".")[0]
        for name in found
    }


def ours(module: str) -> set[str]:
    """The modules of minidqn that a module imports."""
    return {name[1:] for name in imports(FILES[module]) if name.startswith(".")}


def others(path: Path) -> set[str]:
    """The packages that a file imports, but for the standard library."""
    return {name for name in imports(path) if not name.startswith(".")} - STANDARD


def test_the_reading_of_imports_finds_what_is_there() -> None:
    assert {"nn.layers", "checks", "exploration"} <= ours("agent")
    assert "gymnasium" in others(FILES["agent"])
    assert "agent" in ours("lab.training")
    assert "" in {name[1:] for name in imports(ROOT / "examples" / "cartpole.py")}
    assert {"targets", "exploration", "replay", "batch", "schedules"} <= LESSON
    assert {"agent", "config", "checks"} <= LESSON
    assert {"nn.layers", "nn.network", "nn.adam", "nn.jit"} <= NN
    assert {"parts.conv", "parts.quantiles", "parts.qnetwork"} <= PARTS
    assert {"lab.training", "lab.cli", "__main__"} <= LAB


@pytest.mark.parametrize("module", sorted(NN))
def test_nn_needs_numpy_and_numba_alone(module: str) -> None:
    assert ours(module) <= NN
    assert others(FILES[module]) <= {"numpy", "numba"}


@pytest.mark.parametrize("module", sorted(LESSON | PARTS))
def test_the_lesson_and_the_parts_know_nothing_of_the_lab(module: str) -> None:
    assert ours(module) <= LESSON | NN | PARTS
    assert others(FILES[module]) <= {"numpy", "gymnasium"}


@pytest.mark.parametrize("module", sorted(PLAIN))
def test_the_lesson_is_plain_dqn(module: str) -> None:
    assert ours(module) <= PLAIN | NN


def test_the_parts_take_their_places_in_assembly_alone() -> None:
    assert ours("agent") <= LESSON | NN
    assert ours("assembly") <= PLAIN | NN | PARTS
    assert ours("assembly") & PARTS
    users = {module for module in LESSON | NN | PARTS if "assembly" in ours(module)}
    assert users == {"agent"}


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"", "__main__"}))
def test_nobody_imports_the_package_itself(module: str) -> None:
    """It imports them: an arrow back up would depend on the order of imports."""
    assert "" not in ours(module)


def test_no_number_of_a_run_comes_from_a_file_that_its_identity_leaves_out() -> None:
    """A run uses four of these, which only print and warn."""
    left_out = {f"lab.{name}" for name in WITHOUT_NUMBERS}
    warning = {"lab.first_masks", "lab.in_vain", "lab.progress", "lab.scale"}
    for module in FILES.keys() - left_out - {"", "__main__"}:
        assert ours(module) & left_out <= warning, module


def test_imports_go_round_in_no_circle() -> None:
    below: dict[str, set[str]] = {}

    def all_below(module: str, above: tuple[str, ...]) -> set[str]:
        assert module not in above, f"{' -> '.join(above)} -> {module}"
        if module not in below:
            direct = ours(module)
            deeper = [all_below(name, (*above, module)) for name in direct]
            below[module] = direct.union(*deeper)
        return below[module]

    for module in FILES:
        all_below(module, ())
    assert all_below("agent", ()) >= {"nn.jit", "replay", "targets", "parts.frames"}


def test_the_page_stands_alone_and_is_short() -> None:
    allowed = {"argparse", "itertools", "copy", "gymnasium", "numpy", "numba"}
    assert imports(PAGE) <= allowed
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 200


# --- How long code may get

MOST_LINES = 250  # of a file
MOST_LINES_OF_FUNCTION = 40  # without its docstring
MOST_COLUMNS = 88


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def lines_of_function(node: ast.FunctionDef) -> int:
    """From its name to its end, without the docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or 0) - docstring.lineno + 1
    return lines


def long_functions(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef)
        and lines_of_function(node) > MOST_LINES_OF_FUNCTION
    }


def test_no_file_is_too_long() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): len(lines_of(path))
        for path in FILES.values()
        if len(lines_of(path)) > MOST_LINES
    }
    assert found == {}


@pytest.mark.parametrize("path", sorted({PAGE, *FILES.values()}), ids=lambda p: p.stem)
def test_no_function_is_too_long(path: Path) -> None:
    assert long_functions(path) == set()


@pytest.mark.parametrize("path", sorted({PAGE, *FILES.values()}), ids=lambda p: p.stem)
def test_no_line_is_too_wide(path: Path) -> None:
    wide = {
        number: line
        for number, line in enumerate(lines_of(path), 1)
        if len(line) > MOST_COLUMNS
    }
    assert wide == {}


def test_what_is_long_is_found(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    docstring = '    """One.\n\n    Two.\n    """\n'
    short = f"def short():\n{docstring}" + 39 * "    x = 1\n"
    long = f"def long():\n{docstring}" + 40 * "    x = 1\n"
    path.write_text(f"{short}\n\n{long}")
    assert long_functions(path) == {"long"}


def test_only_one_file_knows_where_published_figures_are() -> None:
    """A benchmark that is only tried leaves them as they are: see its option --out."""
    folder = ROOT / "benchmarks"
    texts = {path.name: path.read_text("utf-8") for path in folder.glob("*.py")}
    assert {name for name in texts if '"results"' in texts[name]} == {"report.py"}
    # three read them there, and two are about them
    knowing = {name for name in texts if re.search(r"\bPUBLISHED\b", texts[name])}
    reading = {"learning.py", "trained.py", "plain_settings.py"}
    about = {"report.py", "all_tables.py", "same_training.py"}
    assert knowing == reading | about


def test_what_mypy_is_told_to_ignore_has_its_reason_beside_it() -> None:
    without = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("minidqn", "examples", "benchmarks", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for line in lines_of(path)
        if re.search(r"# type: ignore(?!.*\]  # \w)", line) and path != Path(__file__)
    ]
    assert without == []


def test_bugs_are_tried_in_every_module() -> None:
    """In benchmarks/tests_for.py, which knows the tests of each."""
    with_code = {name for name, path in FILES.items() if path.name != "__init__.py"}
    assert {name.replace("/", ".") for name in TESTS} == with_code | {"page"}
    for names in TESTS.values():
        for name in names.split():
            assert (ROOT / "tests" / f"test_{name}.py").exists(), name
