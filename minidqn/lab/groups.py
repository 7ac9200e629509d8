"""Which results belong together, and the table that has a line for each such group.

A group is the runs of one environment with the same settings.

A run is named settings/seed, as "n_step=3/7": all but the last part is shared by runs
that differ only in their seeds. (A name of one part is settings with a single run.) A
result has all settings of its run, so whether that is true can be checked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np

from minidqn.config import DQNConfig
from minidqn.lab.spec import Spec
from minidqn.lab.statistics import FEWEST, difference, improvement, interval, iqm
from minidqn.nn.layers import Array

Result = dict[str, Any]  # settings and results of a run: see outcome.py

BEATS = "chance to beat the first line"  # headings of columns of the table
DIFFERENCE = "difference, same seeds"

# what all runs of a group have in common
SHARED = {each.name for each in (*fields(Spec), *fields(DQNConfig))} - {
    "name",
    "seed",
    "start",
}


@dataclass
class Group:
    """The runs of some settings in one environment, by their names."""

    env_id: str  # "" if it is not known
    settings: str
    runs: dict[str, Result] = field(default_factory=dict)

    @property
    def ended(self) -> list[Result]:
        """The results of the runs that did not fail, sorted by their seeds.

        Statistics that draw seeds by their position need an order that does not depend
        on which run ended first.
        """
        ended = [run for run in self.runs.values() if "failed" not in run]
        return sorted(ended, key=lambda run: int(run["seed"]))

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return len(self.runs) - len(self.ended)


def grouped(results: Iterable[Result]) -> list[Group]:
    """The results in groups. Groups in which all runs failed come last.

    A failed run may not say what its environment was. If its settings were used in one
    environment only, it was that one. Raises ValueError if two runs of a group have the
    same name, the same seed, or other settings.
    """
    groups: dict[tuple[str, str], Group] = {}
    # the runs that ended come first: they tell which settings each environment has
    for result in sorted(results, key=lambda result: "failed" in result):
        name = result["name"]
        settings = settings_in(name)
        env_id = result.get("env_id") or only_environment(settings, groups.values())
        group = groups.setdefault((env_id, settings), Group(env_id, settings))
        if name in group.runs:
            raise ValueError(f"two runs are named {name!r}: expected one")
        group.runs[name] = result
    for group in groups.values():
        check_same_settings(group.ended)
    return list(groups.values())


def settings_in(name: str) -> str:
    """The name of a run without its last part, the seed."""
    return name.rpartition("/")[0] or name


def check_same_settings(runs: list[Result]) -> None:
    """Raise ValueError if runs of a group, sorted by their seeds, are no repetitions.

    They must have the same settings, and a seed each. Settings that a result does not
    have are not judged.
    """
    for before, run in pairwise(runs):
        both = f"{before['name']!r} and {run['name']!r} have"
        differ = other_settings(before, run)
        if differ:
            raise ValueError(
                f"{both} {'; '.join(differ)}: expected names that differ before the "
                "last /, because only runs with the same settings are one line"
            )
        if before["seed"] == run["seed"]:
            raise ValueError(
                f"{both} the seed {run['seed']}: expected another seed for each run "
                "of the same settings"
            )


def other_settings(first: Result, second: Result) -> list[str]:
    """The settings in which two results differ, in words."""
    names = SHARED & first.keys() & second.keys()
    if first.get("until_solved") and second.get("until_solved"):
        names -= {"steps"}  # a result says how many it took
    return [
        f"{name} {first[name]} and {second[name]}"
        for name in sorted(names)
        if first[name] != second[name]
    ]


def only_environment(settings: str, groups: Iterable[Group]) -> str:
    """The environment of these settings; "" if there are several, or none."""
    env_ids = [group.env_id for group in groups if group.settings == settings]
    return env_ids[0] if len(env_ids) == 1 else ""


# --- The table


def eval_means(runs: Sequence[Result]) -> Array:
    """The mean return of each run's test, (seeds,)."""
    return np.array([run["eval_mean"] for run in runs])


def row(group: Group, first: Group) -> dict[str, str]:
    """The row of some settings, beside the `first` ones: a text for each column."""
    runs = group.ended
    means = eval_means(runs)
    worst = runs[int(means.argmin())]["seed"]
    solved_at = runs[0]["solved_at"]
    solved = ""
    if solved_at is not None:
        # a failed run is not solved: it may have diverged. Nor is a run of which the
        # test was cut: its episodes might have gone on
        count = sum(is_solved(run) for run in runs)
        solved = f"{count} of {len(group.runs)} from {solved_at:g}"
    return {
        "environment": group.env_id,
        "settings": group.settings,
        "seeds": str(len(runs)),
        "failed": str(group.failed),
        "mean": f"{means.mean():.2f}",
        "IQM (95 % interval)": middle_of(means),
        "worst seed": f"{means.min():.2f} (seed {worst})",
        "solved": solved,
        DIFFERENCE: "" if group is first else difference_to(first, group),
        BEATS: f"{improvement(means, eval_means(first.ended)):.2f}",
        "steps": f"{runs[0]['steps']:,}",
        "updates": f"{runs[0]['updates']:,}",
    }


def is_solved(run: Result) -> bool:
    """Whether a run's test reached the threshold, without an episode that was cut."""
    whole = run.get("eval_cut", 0) == 0
    return whole and bool(run["eval_mean"] >= run["solved_at"])


def middle_of(means: Array) -> str:
    """The IQM of (seeds,) means. Few seeds have no interval, and one has no IQM."""
    if len(means) == 1:
        return ""
    if len(means) < FEWEST:
        return f"{iqm(means):.2f}"
    low, high = interval(means)
    return f"{iqm(means):.2f} ({low:.2f} to {high:.2f})"


def difference_to(first: Group, group: Group) -> str:
    """How much better a group is than the first one, by the seeds that both have.

    It is left out if they have only few.
    """
    of_first = {run["seed"]: run["eval_mean"] for run in first.ended}
    of_group = {run["seed"]: run["eval_mean"] for run in group.ended}
    seeds = sorted(of_first.keys() & of_group.keys())
    if len(seeds) < FEWEST:
        return ""
    x = [of_group[seed] for seed in seeds]
    y = [of_first[seed] for seed in seeds]
    middle, low, high = difference(x, y)
    pairs = ""
    if len(seeds) < max(len(of_first), len(of_group)):
        pairs = f", {len(seeds)} pairs"
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f}){pairs}"


def row_of_failed(group: Group) -> dict[str, str]:
    """The row of settings of which no run has ended: most columns are left out."""
    return {
        "environment": group.env_id,
        "settings": group.settings,
        "seeds": "0",
        "failed": str(group.failed),
    }


def about_failed(groups: Iterable[Group]) -> str:
    """Sentences below the table, for each of the settings with failed runs."""
    sentences = []
    for group in groups:
        if group.failed > 0:
            where = f" in {group.env_id}" if group.env_id else ""
            sentences.append(
                f"{group.failed} of {len(group.runs)} runs of {group.settings}{where} "
                "failed: they count as not solved, and are left out of the means.\n"
            )
    return "".join(f"\n{sentence}" for sentence in sentences)


def about_steps(groups: Iterable[Group]) -> str:
    """A sentence below the table, if settings were given more steps than others."""
    lengths: dict[str, list[int]] = {}
    for group in groups:
        for run in group.ended:
            if not run.get("until_solved"):  # or else the length is a result
                lengths.setdefault(group.env_id, []).append(run["steps"])
    # with several environments, a run may exceed its steps a little
    if all(max(of_env) <= 1.1 * min(of_env) for of_env in lengths.values()):
        return ""
    return (
        "\nSome runs have more steps than others: they may be better only because they "
        "are longer.\n"
    )


def markdown(rows: list[dict[str, str]], groups: Iterable[Group]) -> str:
    """The rows as a table, with the columns of the first, and what is said below it.

    It names the environments only if there are several.
    """
    columns = list(rows[0])
    env_ids = {cells["environment"] for cells in rows if cells["environment"]}
    if len(env_ids) == 1:
        columns.remove("environment")
    lines = [columns, ["---"] * len(columns)]
    for cells in rows:
        lines.append([cells.get(column, "") for column in columns])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + about_failed(groups) + about_steps(groups)
