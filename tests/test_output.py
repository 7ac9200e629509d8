"""Nothing that is printed may end a run."""

import os
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from minidqn.lab.output import Unfailing, make_unfailing

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")


def text_file(number: int, **options: Any) -> TextIOWrapper:
    """A file that is open already, as Python makes sys.stdout of 1."""
    return TextIOWrapper(os.fdopen(number, "wb"), encoding="utf-8", **options)


def leads_to_nowhere(number: int) -> bool:
    return os.path.samestat(os.fstat(number), Path(os.devnull).stat())


def test_what_can_be_written_is_written() -> None:
    content = BytesIO()
    stream = Unfailing(TextIOWrapper(content, encoding="utf-8"))
    print("a line ±", file=stream)
    stream.flush()
    assert content.getvalue().decode() == "a line ±\n"
    assert stream.encoding == "utf-8"  # in all else it is the stream itself
    assert not stream.isatty()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
@pytest.mark.parametrize("write_through", [True, False])
def test_a_closed_pipe_leads_to_nowhere(write_through: bool) -> None:
    reading, writing = os.pipe()
    with text_file(writing, write_through=write_through) as file:
        stream = Unfailing(file)
        assert stream.write("read") == 4
        stream.flush()
        assert os.read(reading, 100) == b"read"
        os.close(reading)
        for _ in range(3):
            assert stream.write("not read") == 8
            stream.flush()
        assert leads_to_nowhere(writing)


@linux
def test_a_full_disk_too() -> None:
    with text_file(os.open("/dev/full", os.O_WRONLY)) as file:
        stream = Unfailing(file)
        stream.write("a line\n" * 10_000)
        stream.flush()
        assert leads_to_nowhere(file.fileno())


@linux
def test_it_leaves_no_file_open() -> None:
    with text_file(os.open("/dev/full", os.O_WRONLY)) as file:
        before = len(list(Path("/proc/self/fd").iterdir()))
        Unfailing(file).give_up()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_streams_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign that the terminal has not is replaced; a stream that was closed is empty."""
    content = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(content, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", None)
    make_unfailing()
    print("49.5 ± 28.9", flush=True)
    assert content.getvalue() == b"49.5 ? 28.9\n"
    print("nobody reads it", file=sys.stderr, flush=True)
    stream = sys.stdout
    make_unfailing()
    assert sys.stdout is stream
