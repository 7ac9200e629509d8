"""What an environment's reset and step return: two values, and five.

experience.py checks the values themselves, before they are stored.
"""

from typing import Any

from minidqn.refusals import wrong_reset, wrong_step


def reset_result(result: Any) -> tuple[Any, dict[str, Any]]:
    """Return what env.reset returned. ValueError unless it is two, the last a dict."""
    is_pair = isinstance(result, (tuple, list)) and len(result) == 2
    if not is_pair or not isinstance(result[1], dict):
        raise ValueError(wrong_reset(result))
    pair: tuple[Any, dict[str, Any]] = result
    return pair


def step_result(result: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Return what env.step returned. ValueError unless it is five, the last a dict.

    It is called in each step, so it must be fast.
    """
    is_five = isinstance(result, (tuple, list)) and len(result) == 5
    if not is_five or not isinstance(result[4], dict):
        raise ValueError(wrong_step(result))
    five: tuple[Any, Any, Any, Any, dict[str, Any]] = result
    return five
