"""One line for a check: what was found, and what was expected."""

from typing import Any


def expect(
    valid: Any, found: str, expected: str, error: type[Exception] = ValueError
) -> None:
    """Raise `error` unless `valid`."""
    if not valid:
        raise error(f"{found}: expected {expected}")
