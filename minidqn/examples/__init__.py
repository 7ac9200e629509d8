"""The scripts of the folder examples/, as modules: minidqn.examples.cartpole.

In a clone, they lie beside the package, where they are easy to find. They are installed
as data. As modules they can be imported anywhere, also by a worker of a sweep.
"""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path


def find_folder() -> Path:
    """The folder of the scripts: in a clone, or where they were installed."""
    beside = Path(__file__).parents[2]
    for folder in (beside / "examples", beside / "share" / "minidqn" / "examples"):
        if (folder / "one_page.py").exists():
            return folder
    try:
        for file in files("minidqn") or ():
            if file.parts[-2:] == ("examples", "one_page.py"):
                return Path(str(file.locate())).parent
    except PackageNotFoundError:
        pass
    return beside / "examples"  # a copy of the package alone: it has no examples


FOLDER = find_folder()
__path__ = [str(FOLDER)]  # where Python looks for the modules of this package
