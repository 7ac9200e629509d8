"""The settings of the site: README, the tour, the tutorials, sweeps and the API, as web pages.

    sphinx-build -c docs . build/site

It takes the extra `docs`. The pages are the files where they lie, so the source folder is the whole
repository. Notebooks are shown as they were run. Links to Python files lead to pages with their
source, which are made here.
"""

import inspect
import shutil
import sys
from collections.abc import Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parent.parent
FOLDERS = ("minidqn/**", "examples", "benchmarks", "tests")
SOURCES = {
    p.relative_to(ROOT).as_posix(): p for f in FOLDERS for p in ROOT.glob(f"{f}/*.py")
}
NAVIGATION = """

```{toctree}
:hidden:

README <self>
```

```{toctree}
:hidden:
:glob:
:caption: The tour

docs/tour/*
```

```{toctree}
:hidden:
:caption: In depth

docs/one_page
docs/watch_it_learn
docs/cli
docs/environments
docs/not_learning
docs/deploy
docs/masks
docs/extending
docs/recorded
docs/resume
docs/sweeps
docs/results
docs/speed
docs/reproduce
docs/reading
docs/mnih2015
docs/five_tutorials
docs/api
CONTRIBUTING
```

```{toctree}
:hidden:
:glob:
:caption: Figures

benchmarks/results/*
```
"""

ANY_ARRAY = "[tuple[~typing.Any, ...], ~numpy.dtype[~typing.Any]]"

sys.path.insert(0, str(ROOT))
project = "minidqn"
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/tour/*.ipynb",
    "benchmarks/results/*.md",
]
exclude_patterns = ["docs/package_index.md", ".*", "build", "runs", "minidqn"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode"]

myst_heading_anchors = 3
nb_execution_mode = "off"
highlight_language = "text"  # of blocks that name none

default_role = "py:obj"  # what docstrings write as `name`
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = "minidqn"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False


def page_of(source: str, docname: str) -> str:
    """The address of the page of a source file, seen from another page."""
    return relpath(f"source/{source}.html", dirname(docname))


class LinksToSource(SphinxTransform):
    """Links to Python files lead to their pages; a link to a folder becomes plain text."""

    default_priority = 900

    def apply(self, **_: Any) -> None:
        here = dirname(self.env.docname)
        for node in list(self.document.findall(download_reference)):
            source = normpath(f"{here}/{node['reftarget']}").lstrip("/")
            if source in SOURCES:
                uri = page_of(source, self.env.docname)
                node.replace_self(nodes.reference("", "", *node.children, refuri=uri))
        for node in list(self.document.findall(pending_xref)):
            if node["reftype"] == "myst" and (ROOT / here / node["reftarget"]).is_dir():
                node.replace_self(node.children)


def prepare(app: Any, docname: str, text: list[str]) -> None:
    """Give README the navigation, and the figures, which have none, a title."""
    if docname == root_doc:
        text[0] += NAVIGATION
    if docname.startswith("benchmarks/"):
        title = docname.split("/")[-1].replace("_", " ").capitalize()
        text[0] = f"# {title}\n\n{text[0]}"


def shorten(
    app: Any, what: str, name: str, thing: Any, options: Any, *texts: Any
) -> Any:
    """Arrays have no long type in signatures: docstrings say what shape they have."""
    return tuple(text and text.replace(ANY_ARRAY, "") for text in texts)


def source_pages(app: Any) -> Iterator[tuple[str, dict[str, str], str]]:
    """A page for each Python file; its lines have the anchors L-1, L-2, ..."""
    for name, path in SOURCES.items():
        code = path.read_text(encoding="utf-8")
        body = app.builder.highlighter.highlight_block(code, "python", lineanchors="L")
        title = escape(name)
        yield (
            f"source/{name}",
            {"title": title, "body": f"<h1>{title}</h1>{body}"},
            "page.html",
        )


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where the source of an object is, seen from docs/api."""
    found: Any = import_module(info["module"])
    for name in info["fullname"].split("."):
        found = getattr(found, name, None)
    found = inspect.unwrap(getattr(found, "fget", found))
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return None
    source = Path(inspect.getfile(found)).relative_to(ROOT).as_posix()
    return f"{page_of(source, 'docs/api')}#L-{inspect.getsourcelines(found)[1]}"


def copies(app: Any, error: Exception | None) -> None:
    """README is the front page, too: index.html. Pages that run are copied as they are."""
    if error is None and app.builder.name == "html":
        shutil.copy(app.outdir / "README.html", app.outdir / "index.html")
        examples = app.outdir / "examples"
        examples.mkdir(exist_ok=True)
        for name in ("watch_it_learn.html", "playground.html", "one_page.py"):
            shutil.copy(ROOT / "examples" / name, examples / name)


def setup(app: Any) -> None:
    app.add_transform(LinksToSource)
    app.connect("source-read", prepare)
    app.connect("autodoc-process-signature", shorten)
    app.connect("html-collect-pages", source_pages)
    app.connect("build-finished", copies)
