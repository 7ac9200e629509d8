"""What benchmarks/speed.py measures in microseconds: updates, actions, and the replay buffer.

Each contender measures each of its rows for a moment, round after round.
"""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from timing import MICROSECOND, Contender, Rounds
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PEERS = {
    "PyTorch": "pytorch.py",
    "PyTorch on one core": "pytorch.py",
    "JAX": "jax_jit.py",
    "JAX on one core": "jax_jit.py",
    "SB3": "sb3.py",
    "SB3 on one core": "sb3.py",
}
NETS = (([64, 64], 64), ([120, 84], 128), ([256, 256], 64))  # hidden layers, batch
IN_A_LOOP = 100  # updates in one call of JAX
SIZES = (32, 64, 128, 256, 512, 1024)  # of a batch, or of two hidden layers
STORED = (("CartPole", [4], "float32", 2), ("Breakout RAM", [128], "uint8", 4))


class Request(NamedTuple):
    """A row of the table, and what its contender is asked for."""

    what: str
    who: str
    request: str
    args: tuple[Any, ...] = ()
    per_call: int = 1  # how often one answer has done it

    @property
    def contender(self) -> str:
        return self.who.split(",")[0]


def name_of(hidden: list[int]) -> str:
    """The hidden layers in words: 64-64."""
    return "-".join(str(width) for width in hidden)


def all_requests() -> list[Request]:
    return [*updates(), *actions(), *storing(), *growth()]


def updates() -> list[Request]:
    found = []
    for hidden, batch in NETS:
        what = f"update, {name_of(hidden)}, batch {batch}"
        net = (hidden, batch)
        for who in ("minidqn", "floor", *PEERS):
            found.append(Request(what, who, "update", net))
        for jax in ("JAX", "JAX on one core"):
            who = f"{jax}, {IN_A_LOOP} in one call"
            found.append(Request(what, who, "updates_in_a_loop", net, IN_A_LOOP))
    return found


def actions() -> list[Request]:
    found = []
    for hidden in ([64, 64], [120, 84]):
        name = name_of(hidden)
        for batch, observed in ((1, "one observation"), (16, "a batch of 16")):
            what = f"greedy action, {observed}, {name}"
            for who in ("minidqn", *PEERS):
                found.append(Request(what, who, "act", (hidden, batch)))
        what = f"explore, {name}"
        parts = "minidqn, its forward and its draw alone"
        found.append(Request(what, "minidqn", "explore", (hidden,)))
        found.append(Request(what, parts, "forward_and_draw", (hidden,)))
    return found


def storing() -> list[Request]:
    found = []
    for who in ("minidqn", "SB3"):
        found.append(Request("observe", who, "observe"))
        found.append(Request("sample(128)", who, "sample", (128,)))
        for observed, *space in STORED:
            what = f"bytes per step stored, {observed}"
            found.append(Request(what, who, "bytes", tuple(space)))
    return found


def growth() -> list[Request]:
    """Updates of larger and larger batches, and of wider and wider layers."""
    found = []
    for who in ("minidqn", "floor"):
        for size in SIZES:
            what = f"growth, batch {size}"
            found.append(Request(what, who, "update", ([64, 64], size)))
        for size in SIZES:
            what = f"growth, width {size}"
            found.append(Request(what, who, "update", ([size, size], 64)))
    return found


def measure_moments(contenders: dict[str, Contender], rounds: int) -> Rounds:
    """All requests, round after round."""
    requests = all_requests()
    times: Rounds = {(each.what, each.who): [] for each in requests}
    for number in tqdm(range(rounds), desc="moments"):
        # each round begins elsewhere, so that a change within a round meets other rows
        first = number * 7 % len(requests)
        for each in requests[first:] + requests[:first]:
            answer = contenders[each.contender].ask(each.request, *each.args)
            times[each.what, each.who].append(answer / each.per_call)
    return times


def without_growth(times: Rounds) -> Rounds:
    """The rows of the table; the others are in the picture."""
    return {
        row: values
        for row, values in times.items()
        if not row[0].startswith("growth, ")
    }


def draw_growth(times: Rounds, path: Path) -> None:
    """The time of an update against batch and width, with the floor below it."""
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 3.8), sharey=True, layout="constrained"
    )
    draw_curves(axes[0], times, "batch", "two hidden layers of 64")
    draw_curves(axes[1], times, "width", "two hidden layers of that width, batch 64")
    ticks = [10, 30, 100, 300, 1000, 3000]
    axes[0].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0].set_ylabel("microseconds")
    axes[0].legend(loc="upper left", framealpha=1.0, edgecolor="none")
    figure.savefig(path, dpi=110)


def draw_curves(axes: Any, times: Rounds, varied: str, other: str) -> None:
    """Draw what varies, `batch` or `width`; `other` says what does not."""
    for who, label, style in (
        ("minidqn", "minidqn, one update", "o-"),
        ("floor", "its matrix products alone, NumPy", "s--"),
    ):
        medians = []
        for size in SIZES:
            values = times[f"growth, {varied} {size}", who]
            medians.append(np.median(values) / MICROSECOND)
        axes.loglog(SIZES, medians, style, label=label, markersize=4)
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel(f"{varied}  ({other})")
    axes.grid(alpha=0.3)
