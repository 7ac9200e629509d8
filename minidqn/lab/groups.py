"""Which results belong together: those of one environment and the same settings.

A run is named settings/seed, as "n_step=3/7": all but the last part is shared by runs
that differ only in their seeds. (A name of one part is settings with a single run.)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Result = dict[str, Any]  # what came of a run: see Spec.outcome


@dataclass
class Group:
    """The runs of some settings in one environment, by their names."""

    env_id: str  # "" if nobody knows it
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
    same name.
    """
    groups: dict[tuple[str, str], Group] = {}
    # the runs that ended come first: they tell which settings each environment has
    for result in sorted(results, key=lambda result: "failed" in result):
        name = result["name"]
        settings = name.rpartition("/")[0] or name
        env_id = result.get("env_id") or only_environment(settings, groups.values())
        group = groups.setdefault((env_id, settings), Group(env_id, settings))
        if name in group.runs:
            raise ValueError(f"two runs are named {name!r}: expected one")
        group.runs[name] = result
    return list(groups.values())


def only_environment(settings: str, groups: Iterable[Group]) -> str:
    """The environment of these settings; "" if there are several, or none."""
    env_ids = [group.env_id for group in groups if group.settings == settings]
    return env_ids[0] if len(env_ids) == 1 else ""
