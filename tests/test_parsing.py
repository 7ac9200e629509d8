"""Settings as one writes them on a command line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn import DQNConfig, ExponentialDecay, LinearDecay
from minidqn.lab.parsing import integer, parse, replaced_decays, split

STEPS = 2000  # of the run


def test_a_text_becomes_the_value_that_one_means() -> None:
    assert parse("n_step", "3", STEPS) == 3
    assert parse("gamma", "0.9", STEPS) == 0.9
    assert parse("double", "false", STEPS) is False
    assert parse("hidden", "128,128", STEPS) == (128, 128)
    assert parse("learning_rate", "1e-3", STEPS) == 1e-3
    assert parse("learning_rate", "3e-3:0", STEPS) == LinearDecay(3e-3, 0.0, STEPS)
    assert parse("epsilon", "1:0.05:500", STEPS) == LinearDecay(1.0, 0.05, 500)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("hidden", "64", (64,)),
        ("hidden", "64,", (64,)),
        ("hidden", "(64, 32)", (64, 32)),
        ("hidden", "[64, 32]", (64, 32)),
        ("hidden", "()", ()),
        ("conv", "16,3,1", ((16, 3, 1),)),
        ("conv", "(16,3,1)", ((16, 3, 1),)),
        ("conv", "((16,3,1),)", ((16, 3, 1),)),
        ("conv", "(16,8,4),(32,4,2)", ((16, 8, 4), (32, 4, 2))),
        ("conv", "[[16,8,4],[32,4,2]]", ([16, 8, 4], [32, 4, 2])),
        ("conv", "()", ()),
        ("double", "True", True),
        ("double", "YES", True),
        ("double", "1", True),
        ("double", "no", False),
        ("double", "0", False),
        ("buffer_size", "1e5", 100_000),
        ("buffer_size", "100_000", 100_000),
        ("huber_delta", "inf", float("inf")),
        ("epsilon", "0", 0.0),
        ("epsilon", "LinearDecay(1, 0.1, 50)", LinearDecay(1.0, 0.1, 50)),
        ("epsilon", "LinearDecay(1.0, end=0.1, steps=50)", LinearDecay(1.0, 0.1, 50)),
    ],
)
def test_each_may_be_written_in_several_ways(name: str, text: str, value: Any) -> None:
    found = parse(name, text, STEPS)
    assert found == value
    assert type(found) is type(value)
    DQNConfig(**{name: found})  # takes it


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("double", "maybe", "true or false"),
        ("double", "2", "true or false"),
        ("n_step", "three", "an integer"),
        ("n_step", "1.5", "an integer"),
        ("n_step", "inf", "an integer"),
        ("n_step", "nan", "an integer"),
        ("gamma", "high", "a number"),
        ("hidden", "64;64", "integers, such as 64,64"),
        ("hidden", "64 64", "integers, such as 64,64"),
        ("hidden", "wide", "integers, such as 64,64"),
        ("hidden", "{[]: 1}", "integers, such as 64,64"),
        ("hidden", "__import__('os')", "integers, such as 64,64"),
        ("conv", "a,b", "channels, kernel and stride of each layer, such as"),
        (
            "epsilon",
            "1:",
            "a number, START:END for a decay over the run, or START:END:STEPS",
        ),
        ("epsilon", ":", "a number, START:END"),
        ("epsilon", "1:0:5:6", "a number, START:END"),
        ("epsilon", "1:0:0", "a number, START:END"),
        ("epsilon", "LinearDecay(1)", "a number, START:END"),
        ("epsilon", "LinearDecay(1, 0, 5) + 1", "a number, START:END"),
        ("epsilon", "LinearDecay(1, 0, open('x'))", "a number, START:END"),
        ("epsilon", "QuadraticDecay(1, 0, 5)", "a number, START:END"),
    ],
)
def test_what_it_cannot_be_is_said(name: str, text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse(name, text, STEPS)
    assert str(refused.value).startswith(f"{name}={text}: expected {expected}")


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, numbers, st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_decay_is_its_start_and_its_end(
    start: float, end: float, length: int, steps: int
) -> None:
    decay = parse("epsilon", f"{start}:{end}", steps)
    assert decay == LinearDecay(start, end, steps)
    decay = parse("epsilon", f"{start}:{end}:{length}", steps)
    assert decay == LinearDecay(start, end, length)
    assert parse("epsilon", repr(decay), steps) == decay  # as it is printed


@given(st.integers())
def test_an_integer_of_any_size_is_exact(number: int) -> None:
    """As a float, a seed of 17 digits would be another one."""
    assert integer(str(number)) == number


def test_a_text_is_a_name_and_a_value() -> None:
    assert split("n_step=3") == ("n_step", "3")
    assert split(" hidden = 64, 64 ") == ("hidden", "64, 64")
    assert split("epsilon=LinearDecay(1, end=0, steps=5)")[0] == "epsilon"
    for text in ("hidden", "hidden=", "hidden= ", "=3", ""):
        with pytest.raises(ValueError, match=r"expected NAME=VALUE, such as n_step=3"):
            split(text)
    with pytest.raises(ValueError, match=r"setting 'hiden': expected hidden$"):
        split("hiden=3")
    with pytest.raises(ValueError, match="setting 'x': expected one of frame_stack, "):
        split("x=3")


def test_a_decay_that_becomes_a_constant_is_said() -> None:
    config = DQNConfig(epsilon=LinearDecay(1.0, 0.1, 50), learning_rate=1e-3)
    changes = {"epsilon": 0.5, "learning_rate": 1e-2, "gamma": 0.9}
    assert replaced_decays(config, changes) == [
        "epsilon is 0.5 throughout, instead of LinearDecay(start=1.0, end=0.1, "
        "steps=50.0); epsilon=0.5:0 would be a decay to 0 over the run"
    ]
    other = ExponentialDecay(1.0, 0.1, 50)
    assert replaced_decays(config, {"epsilon": other, "n_step": 2}) == []
