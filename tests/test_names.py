"""The names of a sweep's runs: which folders they are, and that no two are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.lab.names import Names, check_name


def test_a_name_is_a_folder_in_the_folder_of_the_sweep() -> None:
    names = Names()
    names.add("n_step=3/0")
    names.add("n_step=3/1")
    names.add("n_step=40/0")
    with pytest.raises(ValueError, match="two specs are named 'n_step=3/0': expected"):
        names.add("n_step=3/0")


@pytest.mark.parametrize(
    "name",
    [
        # nothing, or not below the sweep's folder
        *("", " ", ".", "..", "...", "./", "/", "/x", "../x", "a/../b", "a/..", "./x"),
        # another spelling of a folder
        *("x/", "x//y", "x/./y", "x ", " x", "x/ y", "x.", "x./y", "a\\b"),
        # no name on some systems
        *("a\0b", "a\nb", "a\tb", "\u200b", "\ud800", "a" * 201, "é" * 101),
        *("rate=3e-3:0", "x/a:b/0", "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b"),
        # a file that a run has in its folder
        *("run.json", "x/run.json", "x/SUMMARY.json", ".lock", "x/.lock"),
        *("agent.safetensors", "checkpoint.safetensors", "history.csv"),
        # no text
        *(5, None, b"x", ("x", "y")),
    ],
)
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(
        ValueError, match=r"a spec is named .*: expected the name of a "
    ):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("x", "x/y/z", "lock", "sweep.json", "~", "...x", "a.b", "a b", "é", "名"),
        *("hidden=64,64/0", "learning_rate=3e-3~0/7", "ALE/Breakout-v5/3"),
        *("a" * 200, "a" * 200 + "/0"),
    ],
)
def test_anything_else_is_one(name: str) -> None:
    check_name(name)
    Names().add(name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x", "x"),
        ("A", "a"),  # Windows and macOS have one folder for both
        ("x/A", "X/a"),
        ("é", "e\u0301"),  # macOS, too
        ("straße", "STRASSE"),
    ],
)
def test_two_names_of_one_folder_are_refused(first: str, second: str) -> None:
    names = Names()
    names.add(first)
    with pytest.raises(
        ValueError, match=r"two specs are named .*: expected a name for"
    ):
        names.add(second)


@pytest.mark.parametrize(
    ("first", "second"), [("x", "x/y"), ("x/y", "x"), ("x", "X/y/z"), ("x/y/z", "x/Y")]
)
def test_no_run_lies_in_the_folder_of_another(first: str, second: str) -> None:
    names = Names()
    names.add(first)
    with pytest.raises(ValueError, match="expected that no run's folder lies in anoth"):
        names.add(second)


def test_a_name_that_is_refused_is_not_taken() -> None:
    names = Names()
    names.add("x/y")
    with pytest.raises(ValueError, match="lies in another's"):
        names.add("x")
    names.add("x/z")
    names.add("xx")  # begins like x, and is another folder


PARTS = st.sampled_from(["a", "b", "A", "run.json"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=6))
def test_the_names_that_are_taken_are_folders_of_their_own(given: list[str]) -> None:
    names = Names()
    taken: list[str] = []
    for name in given:
        try:
            names.add(name)
        except ValueError:
            continue
        taken.append(name.casefold())
    for i, name in enumerate(taken):
        for other in taken[:i] + taken[i + 1 :]:
            assert name != other
            assert not name.startswith(f"{other}/")
        assert "run.json" not in name.split("/")
    # and none is refused without a reason
    for name in given:
        key = name.casefold()
        clashes = [o for o in taken if f"{o}/".startswith(f"{key}/")]
        clashes += [o for o in taken if f"{key}/".startswith(f"{o}/")]
        assert clashes or "run.json" in name.split("/")
