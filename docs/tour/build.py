"""Build the tour: each chapter, a Python file, becomes a notebook that has been run.

    python docs/tour/build.py        # all chapters
    python docs/tour/build.py 3 6    # or only some

It takes the extra `tour`. Cells tagged "solution" are left out of the notebooks, and are what
tests/test_tour.py holds the exercises' checkers against. The code of cells tagged "checker" is
folded, in Jupyter and on the site, because it shows the answer.
"""

import argparse
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHAPTERS = sorted(HERE.glob("[0-9]*.py"))


def cells_of(chapter: Path) -> Any:
    """The chapter as a notebook that has not been run."""
    import jupytext

    book: Any = jupytext.read(chapter)
    book.cells = [c for c in book.cells if "solution" not in c.metadata.get("tags", ())]
    return book


def notebook(chapter: Path) -> Any:
    """The chapter as a notebook, executed from top to bottom."""
    from nbclient import NotebookClient

    book = cells_of(chapter)
    book.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    place = {"metadata": {"path": str(HERE)}}
    NotebookClient(book, timeout=600, resources=place).execute()
    book.metadata.pop("jupytext")  # sets in it have another order in every build
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)  # times, which would differ in every build
        if "checker" in cell.metadata.get("tags", ()):
            fold(cell)
        if cell.cell_type == "code":  # without what tqdm advises to install
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            join_texts(cell)
    return book


def fold(cell: Any) -> None:
    """Hide the code of a cell until the reader asks for it."""
    cell.metadata["jupyter"] = {"source_hidden": True}  # for Jupyter
    cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]  # for the site


def join_texts(cell: Any) -> None:
    """Make what a cell printed one output; now and then it comes in several."""
    texts = [out for out in cell.outputs if out.get("name") == "stdout"]
    for text in texts[1:]:
        texts[0].text += text.text
        cell.outputs.remove(text)


def main() -> None:
    import nbformat

    parser = argparse.ArgumentParser(description="Build the tour.")
    parser.add_argument("chapter", nargs="*", help="its number; without, all chapters")
    numbers = parser.parse_args().chapter
    for chapter in CHAPTERS:
        if not numbers or chapter.name[0] in numbers:
            nbformat.write(notebook(chapter), chapter.with_suffix(".ipynb"))
            print(chapter.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
