"""The site builds without a warning, and each of its links and pictures leads to what is there."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import minidqn

for package in ("sphinx", "myst_nb", "furo"):
    pytest.importorskip(package, reason="the site takes the extra `docs`")
ROOT = Path(__file__).parent.parent


class Page(HTMLParser):
    """What a page names, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links = {""}, set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.links.add(value or "")


def broken(folder: Path) -> tuple[list[str], int]:
    """The links within the site that lead nowhere, and how many there are in all."""
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in folder.rglob("*.html")}
    wrong, count = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if not (parts.scheme or parts.netloc):
                count += 1
                target = (
                    (path.parent / unquote(parts.path)).resolve()
                    if parts.path
                    else path
                )
                known = pages[target].anchors if target in pages else {""}
                if not target.is_file() or unquote(parts.fragment) not in known:
                    wrong.append(f"{path.relative_to(folder)}: {link}")
    return wrong, count


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew; a warning is an error."""
    folder = tmp_path_factory.mktemp("docs")
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", str(folder / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, ".", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_link_leads_somewhere(site: Path) -> None:
    wrong, count = broken(site)
    assert wrong == []
    assert count > 1000


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    links = [
        "b.html#there",
        "b.html",
        "#",
        "b.html#not",
        "c.html",
        "d.png",
        "https://example.org",
    ]
    text = "".join(f'<a href="{link}">' for link in links)
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    (tmp_path / "b.html").write_text(
        '<p id="there"><img src="e.png">', encoding="utf-8"
    )
    wrong = ["a.html: b.html#not", "a.html: c.html", "a.html: d.png", "b.html: e.png"]
    assert (sorted(broken(tmp_path)[0]), broken(tmp_path)[1]) == (wrong, 7)


def test_the_pages_are_all_there(site: Path) -> None:
    chapters = sorted(path.stem for path in (ROOT / "docs" / "tour").glob("*.ipynb"))
    assert chapters == sorted(
        path.stem for path in (site / "docs" / "tour").glob("*.html")
    )
    for name in (
        "index",
        "docs/five_tutorials",
        "docs/sweeps",
        "source/minidqn/agent.py",
    ):
        assert (site / f"{name}.html").is_file()
    api = Page((site / "docs" / "api.html").read_text(encoding="utf-8"))
    assert {f"minidqn.{name}" for name in minidqn.__all__} <= api.anchors
