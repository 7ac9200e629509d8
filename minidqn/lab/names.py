"""The names of a sweep's runs: each must give a separate folder.

This must also hold on systems where upper and lower case are the same.
"""

import unicodedata
from pathlib import PurePosixPath
from typing import Any

from minidqn.lab.folder import AGENT, CHECKPOINT, HISTORY, LOCK, RUN, SUMMARY

OWN_FILES = {AGENT, CHECKPOINT, HISTORY, LOCK, RUN, SUMMARY}
LONGEST = 200  # bytes of one part
FORBIDDEN = set('<>:"\\|?*')  # by Windows; / stands between two parts


def check_name(name: Any) -> None:
    """Raise ValueError unless `name` can be a folder, or nested folders: a/b."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if not all(is_name_of_folder(part) for part in parts):
        raise ValueError(
            f"a spec is named {name!r}: expected the name of a folder in the sweep's, "
            f"such as n_step=3/0, without {' '.join(sorted(FORBIDDEN))}"
        )


def is_name_of_folder(part: str) -> bool:
    if part in ("", ".", "..") or part.lower() in OWN_FILES:
        return False
    if not part.isprintable() or FORBIDDEN & set(part):
        return False
    if part != part.strip() or part.endswith("."):
        return False
    return len(part.encode()) <= LONGEST


class Names:
    """The names that are taken. On some systems, A and a are the same."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.above: set[str] = set()  # folders that have runs in them

    def add(self, name: str) -> None:
        """Add a name. ValueError if it is taken, or lies in another run's folder."""
        check_name(name)
        key = unicodedata.normalize("NFC", name).casefold()
        if key in self.names:
            raise ValueError(f"two specs are named {name!r}: expected a name for each")
        above = {str(folder) for folder in PurePosixPath(key).parents} - {"."}
        inside = above & self.names
        if key in self.above or inside:
            raise ValueError(
                f"a spec is named {name!r}: expected that no run's folder lies in "
                "another's"
            )
        self.names.add(key)
        self.above.update(above)
