"""The shared part of speed.py's contenders: a process that times calls on request.

speed.py starts one for each contender and lets them work in turn, a moment each, so that
a machine that is slower for a while is slower for all. A request is a line of JSON on
stdin, {"row": name, "args": [...], "seconds": s}; the answer, on stdout, is one number.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def serve(
    repeated: dict[str, Callable[..., Call]],
    once: dict[str, Callable[..., float]],
    finish: Callable[[Any], object] = lambda result: None,
) -> None:
    """Answer requests until stdin ends.

    A row of `repeated` is set up once, by its arguments, and gives a call; the answer is
    the mean time of a call, in seconds, over about `seconds`. `finish` waits for what the
    last call began, where calls only queue work. A row of `once` gives its number itself.
    """
    calls: dict[str, Call] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name, args = request["row"], request["args"]
        if name in once:
            answer = once[name](*args)
        else:
            key = json.dumps([name, args])
            if key not in calls:
                calls[key] = repeated[name](*args)
                finish(calls[key]())  # compile
                mean_seconds(calls[key], 0.1, finish)  # fill the caches
            answer = mean_seconds(calls[key], request["seconds"], finish)
        print(json.dumps(answer), flush=True)


def learning(update: Call) -> Call:
    """The update, after a check that it lowers the loss that it returns."""
    losses = [float(update()) for _ in range(300)]
    assert sum(losses[-50:]) < 0.95 * sum(losses[:50]), losses  # the rest is noise
    return update


def mean_seconds(call: Call, at_least: float, finish: Callable[[Any], object]) -> float:
    """The mean time of a call; the clock is read seldom, because that takes time, too."""
    calls, total = 0, 0.0
    batch = 1
    while total < at_least:
        start = time.perf_counter()
        for _ in range(batch):
            result = call()
        finish(result)
        total += time.perf_counter() - start
        calls += batch
        batch *= 2 if total < at_least / 4 else 1
    return total / calls
