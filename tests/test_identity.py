"""What makes a run another run: no two that could differ in a number are the same."""

import importlib
import json
import linecache
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import WrapperSpec

from minidqn import DQN, DQNConfig, ExponentialDecay, LinearDecay, Spec, save
from minidqn.lab import code
from minidqn.lab.code import code_of, files_of
from minidqn.lab.identity import as_plain, differences, environment, registered
from minidqn.lab.jobs import identity_of
from minidqn.lab.run import run, train_and_test
from minidqn.lab.sweep import sweep
from minidqn.parts.decays import Delayed

ROOT = Path(__file__).parent.parent
SPEC = Spec("CartPole-v1", DQNConfig(learning_starts=100), 1000, 0)


def test_two_runs_are_the_same_if_nothing_differs_that_changes_a_number() -> None:
    same = Spec("CartPole-v1", DQNConfig(learning_starts=100), 1000, 0, "another name")
    assert same.identity() == SPEC.identity()
    other = replace(SPEC, seed=1)
    assert other.identity() != SPEC.identity()
    assert differences(SPEC.identity(), other.identity()) == ["seed 0 instead of 1"]


def make_env(**options: Any) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", **options)


def make_limited(limit: int, **options: Any) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=limit, **options)


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Around the environment of training."""

    @staticmethod
    def wrap(env: Any) -> Any:
        return Wrapped(env)


class OwnAgent(DQN):
    """Another class."""


def build(space: Any, n_actions: int) -> Any:
    raise NotImplementedError


def half(reward: Any) -> Any:
    return reward / 2


def saw(step: int) -> float:
    return 0.5 + 0.5 * (step % 2)


@dataclass(frozen=True)
class Steps:
    """A schedule of one's own, with content."""

    height: float
    shape: Callable[[int], float] = saw

    def __call__(self, step: int) -> float:
        return self.height * self.shape(step)


OTHERS: dict[str, list[Any]] = {
    "env_id": ["Acrobot-v1"],
    "steps": [1001],
    "seed": [1],
    "make_env": [
        make_env,
        partial(make_limited, 5),
        partial(make_limited, 6),
        partial(make_limited, limit=5),
        partial(make_limited, 5, render_mode="rgb_array"),
        Wrapped.wrap,
    ],
    "train_wrapper": [
        Wrapped,
        gym.wrappers.FlattenObservation,
        partial(gym.wrappers.TransformReward, func=half),
        partial(gym.wrappers.TransformReward, func=partial(half)),
        partial(gym.wrappers.TransformReward, func=math.sqrt),
    ],
    "network": [build, partial(build, n_actions=3)],
    "agent": [OwnAgent],
    "num_envs": [2],
    "solved_at": [475.0, 1.0],
    "until_solved": [True],
    "test_epsilon": [0.1],
    "test_episodes": [3],
    "test_max_steps": [50],
    "reseed": [False],
}
OTHER_SETTINGS: dict[str, list[Any]] = {
    "frame_stack": [2],
    "conv": [((16, 3, 1),), ((16, 3, 2),)],
    "normalize_obs": [True],
    "hidden": [(64,), (64, 32)],
    "layer_norm": [True],
    "dueling": [True],
    "quantiles": [2],
    "final_gain": [0.2],
    "gamma": [0.5],
    "n_step": [4],
    "double": [False],
    "huber_delta": [2.0, np.inf],
    "batch_size": [32],
    "learning_rate": [
        0.1,
        LinearDecay(0.1, 0.0, 1000),
        LinearDecay(0.1, 0.0, 1001),
        ExponentialDecay(0.1, 0.0, 1000),
        saw,
        partial(saw),
        Steps(0.1),
        Steps(0.2),
        Steps(0.1, math.sqrt),
    ],
    "max_grad_norm": [1.0],
    "buffer_size": [1000],
    "priority_alpha": [0.6],
    "priority_beta": [0.5],
    "learning_starts": [101],
    "train_every": [2],
    "gradient_steps": [2],
    "tau": [1.0],
    "target_every": [2],
    "epsilon": [0.5, saw],
    "epsilon_hold": [2],
    "param_noise": [0.2],
    "noisy": [True],
}


def test_everything_about_a_run_makes_it_another_one() -> None:
    specs = [SPEC]
    for name, values in OTHERS.items():
        specs += [replace(SPEC, **{name: value}) for value in values]
    for name, values in OTHER_SETTINGS.items():
        configs = [replace(SPEC.config, **{name: value}) for value in values]
        specs += [replace(SPEC, config=config) for config in configs]
    texts = [json.dumps(spec.identity(), sort_keys=True) for spec in specs]
    assert len(set(texts)) == len(texts)
    # and nothing was forgotten here
    assert OTHERS.keys() == {f.name for f in fields(Spec)} - {"name", "config", "start"}
    assert OTHER_SETTINGS.keys() == {field.name for field in fields(DQNConfig)}


def test_a_run_that_begins_with_a_saved_agent_is_what_is_in_the_file(
    tmp_path: Path,
) -> None:
    identities = []
    for seed, name in ((0, "a"), (0, "b"), (1, "a")):
        with SPEC.make() as env:
            agent = DQN(env.observation_space, env.action_space, SPEC.config, seed)
        save(agent, tmp_path / name)
        identities.append(replace(SPEC, start=tmp_path / name).identity())
    assert identities[0] == identities[1]  # wherever it lies
    assert differences(identities[0], identities[2])[0].startswith("start ")
    assert differences(SPEC.identity(), identities[0])[0].startswith("start None ")


# --- What has no name


class Callables:
    """Ways to give a run something that could be another thing next time."""

    def method(self, *args: Any, **options: Any) -> Any:
        return make_env(**options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return make_env(**options)

    @classmethod
    def of_class(cls, *args: Any, **options: Any) -> Any:
        return make_env(**options)


@dataclass(frozen=True)
class HasMore(Steps):
    """It has an attribute that is no field."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "more", 1)


def local_function() -> Any:
    def local(*args: Any, **options: Any) -> Any:
        return make_env(**options)

    return local


@lru_cache
def cached(*args: Any, **options: Any) -> Any:
    return make_env(**options)


NAMELESS = {
    "lambda": lambda *args, **options: make_env(**options),
    "local": local_function(),
    "bound method": Callables().method,
    "class method": Callables.of_class,
    "callable object": Callables(),
    "decorated": cached,
    "bound method of a builtin": {}.get,
    "partial of a lambda": partial(lambda *args, **options: None),
    "partial with an object": partial(make_env, env=Callables()),
    "partial with a lambda in a list": partial(make_env, env=[lambda: None]),
    "partial with a set": partial(make_env, env={1, 2}),
    "partial with an array": partial(make_env, env=np.zeros(2)),
    "dataclass with more than fields": HasMore(1.0),
    "dataclass with a lambda": Steps(1.0, lambda step: 1.0),
}


@pytest.mark.parametrize("kind", NAMELESS)
@pytest.mark.parametrize("name", ["make_env", "train_wrapper", "network", "epsilon"])
def test_what_has_no_name_is_refused_by_name_before_anything_runs(
    name: str, kind: str, tmp_path: Path
) -> None:
    value: Any = NAMELESS[kind]
    if name == "epsilon":
        spec = replace(SPEC, config=replace(SPEC.config, epsilon=value))
    else:
        spec = replace(SPEC, **{name: value})
    folder = tmp_path / "out"
    message = f"^{name} of a run: .*(no name that would be|may be another function)"
    with pytest.raises(TypeError, match=message):
        run(spec, folder)
    with pytest.raises(TypeError, match=message):
        sweep([replace(SPEC, name="first"), spec], folder)
    assert not folder.exists()


def test_a_class_in_a_function_is_refused_too(tmp_path: Path) -> None:
    class Local(Wrapped):
        pass

    with pytest.raises(
        TypeError, match=r"train_wrapper of a run: .*<locals>\.Local of"
    ):
        run(replace(SPEC, train_wrapper=Local), tmp_path / "out")


def test_a_task_without_a_name_is_refused_too(tmp_path: Path) -> None:
    tasks: list[Any] = [lambda spec, folder: {}, Callables().method, Callables()]
    for task in tasks:
        with pytest.raises(TypeError, match=r"^task of a run: "):
            sweep([SPEC], tmp_path / "out", task=task)
    assert list(tmp_path.iterdir()) == []


def test_names_are_the_same_in_every_process() -> None:
    here = __name__
    assert as_plain(make_env) == f"{here}.make_env"
    assert as_plain(Wrapped.wrap) == f"{here}.Wrapped.wrap"
    assert as_plain(math.sqrt) == "math.sqrt"
    wrapper = partial(gym.wrappers.TransformReward, func=partial(half, 3))
    inner = {"partial": f"{here}.half", "args": [3], "keywords": {}}
    name = "gymnasium.wrappers.transform_reward.TransformReward"
    expected = {"partial": name, "args": [], "keywords": {"func": inner}}
    assert as_plain(wrapper) == expected
    assert as_plain(Steps(2.0)) == {
        f"{here}.Steps": {"height": 2.0, "shape": f"{here}.saw"}
    }
    assert as_plain((Path("a/b"), np.float32(0.5), {1: None})) == [
        "a/b",
        0.5,
        {"int 1": None},  # another than {"1": None}
    ]


# --- The task


def double(spec: Any, folder: Path) -> dict[str, Any]:
    return {"y": 2 * spec.seed}


def times(factor: int, spec: Any, folder: Path) -> dict[str, Any]:
    return {"y": factor * spec.seed}


@dataclass(frozen=True)
class Note:
    name: str
    seed: int = 1

    def about(self) -> dict[str, Any]:
        return {"seed": self.seed}


def test_another_task_makes_another_run() -> None:
    tasks: list[Any] = [train_and_test, double, partial(times, 5), partial(times, 7)]
    tasks.append(partial(train_and_test, share=0.5))
    for spec in (SPEC, Note("a")):
        of_this = tasks if spec is SPEC else tasks[1:]
        texts = {json.dumps(identity_of(spec, task)) for task in of_this}
        assert len(texts) == len(of_this)
    assert identity_of(SPEC, train_and_test) == SPEC.identity()
    about = differences(
        identity_of(Note("a"), double), identity_of(Note("a"), partial(times, 5))
    )
    assert about[0].startswith(f"task {__name__}.double instead of ")
    # the code of the spec is part of it: the task may call its methods
    task: Any = partial(train_and_test)
    assert __name__ in identity_of(Note("a"), task)["code"]


# --- The code


class Modules:
    """Files of modules, which are imported anew after each change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            file = self.folder / f"{name.replace('.', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def load(self, name: str) -> ModuleType:
        importlib.invalidate_caches()
        for loaded in list(sys.modules):
            file = getattr(sys.modules[loaded], "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[loaded]
        return importlib.import_module(name)

    def code(self, name: str) -> dict[str, Any]:
        """The digests of a run with the function `make` of a module: only of yours."""
        spec = replace(SPEC, make_env=self.load(name).make)
        theirs = replace(SPEC, make_env=gym.make).identity()["code"]
        found: dict[str, Any] = spec.identity()["code"]
        return {key: found[key] for key in found.keys() - theirs.keys()}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Modules(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


MAKE = "def make(**options):\n    return 1\n"


def test_a_comment_changes_nothing_and_a_statement_makes_another_run(
    modules: Modules,
) -> None:
    modules.write(mine=MAKE)
    first = modules.code("mine")
    assert first.keys() == {"mine"}
    modules.write(mine=f"# what it does\n\n\n{MAKE}  # done\n")
    assert modules.code("mine") == first
    modules.write(mine=MAKE.replace("1", "2"))
    assert modules.code("mine") != first
    modules.write(mine=f"{MAKE}\nLIMIT = 3\n")  # some function may read it
    second = modules.code("mine")
    assert second != first
    assert differences({"code": first}, {"code": second}) == ["another code: mine"]


def test_another_decay_is_said_with_its_numbers() -> None:
    config = DQNConfig(epsilon=LinearDecay(1.0, 0.1, 500))
    other = replace(config, epsilon=LinearDecay(1.0, 0.05, 500))
    constant = replace(config, epsilon=0.1)
    delayed = replace(config, epsilon=Delayed(LinearDecay(1.0, 0.1, 500), 9))
    ids = [
        Spec("CartPole-v1", each, 5_000).identity()
        for each in (config, other, constant, delayed)
    ]
    first = "LinearDecay(start=1.0, end=0.1, steps=500.0)"
    second = "LinearDecay(start=1.0, end=0.05, steps=500.0)"
    assert differences(ids[0], ids[1]) == [f"epsilon {first} instead of {second}"]
    assert differences(ids[0], ids[2]) == [f"epsilon {first} instead of 0.1"]
    third = f"Delayed(decay={first}, begin=9.0)"
    assert differences(ids[0], ids[3]) == [f"epsilon {first} instead of {third}"]


def test_the_modules_that_it_imports_are_part_of_it(modules: Modules) -> None:
    modules.write(
        mine="import direct\nimport os.path\nimport numpy.linalg\n"
        "from package import inside, NUMBER\nimport package.deep.deeper\n"
        f"try:\n    import absent\nexcept ImportError:\n    pass\n{MAKE}"
        "def later():\n    from late import x\n",
        direct="from indirect import f\n",
        indirect="import direct\ndef f(): pass\n",  # in a circle
        late="x = 1\n",
        unrelated="x = 1\n",
        **{
            "package.__init__": "NUMBER = 1\nfrom . import sibling\n",
            "package.inside": "from .sibling import x\n",
            "package.sibling": "x = 1\n",
            "package.other": "raise RuntimeError('nobody imports this')\n",
            "package.deep.__init__": "",
            "package.deep.deeper": "from ..far import y\n",
            "package.far": "y = 1\n",
        },
    )
    first = modules.code("mine")
    files = {
        *("mine", "direct", "indirect", "late", "package", "package.inside"),
        *("package.sibling", "package.deep", "package.deep.deeper", "package.far"),
    }
    assert first.keys() == files
    for name in sorted(files):
        file = modules.folder / f"{name.replace('.', '/')}.py"
        if not file.exists():
            file = modules.folder / name.replace(".", "/") / "__init__.py"
        text = file.read_text()
        file.write_text(f"{text}\nADDED = 1\n")
        second = modules.code("mine")
        assert [key for key in first if first[key] != second[key]] == [name]
        file.write_text(text)
    assert modules.code("mine") == first


def test_a_decorated_function_is_of_its_own_module(modules: Modules) -> None:
    decorated = "from tests.test_identity import decorator\n@decorator\n"
    modules.write(mine=decorated + MAKE)
    first = modules.code("mine")
    modules.write(mine=decorated + MAKE.replace("1", "2"))
    assert first["mine"] != modules.code("mine")["mine"]


def decorator(function: Any) -> Any:
    @wraps(function)
    def wrapper(**options: Any) -> Any:
        return function(**options)

    return wrapper


def test_the_code_is_what_was_loaded(modules: Modules) -> None:
    """A script may be edited while its runs go on."""
    modules.write(mine=MAKE)
    loaded = modules.load("mine")
    spec = replace(SPEC, make_env=loaded.make)
    first = spec.identity()
    modules.write(mine=MAKE.replace("1", "2"))
    assert spec.identity() == first
    importlib.invalidate_caches()
    again = importlib.reload(loaded)
    assert replace(SPEC, make_env=again.make).identity() != first


def test_the_code_of_every_function_counts(modules: Modules) -> None:
    modules.write(mine="def f(*args, **options):\n    return 1.0\n")
    f = modules.load("mine").f
    config = SPEC.config
    for spec in (
        replace(SPEC, make_env=f),
        replace(SPEC, make_env=partial(make_limited, f)),
        replace(SPEC, train_wrapper=partial(make_env, func=[f])),
        replace(SPEC, network=partial(build, {"x": f})),
        replace(SPEC, config=replace(config, learning_rate=f)),
        replace(SPEC, config=replace(config, epsilon=partial(f, 3))),
        replace(SPEC, config=replace(config, epsilon=Steps(1.0, f))),
    ):
        assert "mine" in spec.identity()["code"]
    assert "mine" in identity_of(Note("a"), f)["code"]
    assert "mine" not in SPEC.identity()["code"]


def test_functions_of_a_notebook_are_known_by_their_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notebook: Any = ModuleType("notebook_of_mine")
    monkeypatch.setitem(sys.modules, notebook.__name__, notebook)

    def run_cell(number: int, text: str) -> Any:
        file = f"<cell {number}>"
        lines = text.splitlines(keepends=True)
        monkeypatch.setitem(linecache.cache, file, (len(text), None, lines, file))
        exec(compile(text, file, "exec"), notebook.__dict__)
        return notebook

    make = run_cell(1, MAKE).make
    wrap = run_cell(2, "def wrap(env):\n    return env\n").wrap
    first = replace(SPEC, make_env=make, train_wrapper=wrap).identity()
    names = {"notebook_of_mine.make", "notebook_of_mine.wrap"}
    assert names <= first["code"].keys()
    again = run_cell(3, MAKE.replace("1", "2")).make
    second = replace(SPEC, make_env=again, train_wrapper=wrap).identity()
    assert differences(first, second) == ["another code: notebook_of_mine.make"]


def test_code_that_cannot_be_found_is_refused(modules: Modules) -> None:
    absent = ModuleType("absent")
    exec(MAKE, absent.__dict__)
    absent.make.__module__ = "absent"
    with pytest.raises(TypeError, match=r"the code of absent\.make cannot be found"):
        replace(SPEC, make_env=absent.make).identity()


def test_the_code_of_minidqn_and_what_it_is_built_on() -> None:
    found = SPEC.identity()["code"]
    assert {"python", "numpy", "numba", "gymnasium"} <= found.keys()
    assert {"minidqn/agent.py", "minidqn/lab/training.py"} <= found.keys()
    assert "minidqn/lab/cli.py" not in found  # makes no number
    assert "gymnasium.envs.classic_control.cartpole" in found
    names = {file.stem for file in (code.PACKAGE / "lab").glob("*.py")}
    assert set(code.WITHOUT_NUMBERS) <= names
    in_found = {key.rpartition("/")[2] for key in found if "/lab/" in key}
    assert in_found == {f"{name}.py" for name in names - set(code.WITHOUT_NUMBERS)}


def test_an_example_is_part_of_its_runs() -> None:
    breakout_ram: Any = importlib.import_module("minidqn.examples.breakout_ram")
    assert "minidqn.examples.breakout_ram" in breakout_ram.spec().identity()["code"]
    file = Path(breakout_ram.__file__)
    assert files_of(breakout_ram.__name__, file) == {breakout_ram.__name__: file}


def test_the_version_of_a_package_that_makes_an_environment() -> None:
    import hypothesis

    assert code_of(hypothesis.Phase)["hypothesis"] == hypothesis.__version__


# --- The environment


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(gym.registry)
    yield
    gym.registry.clear()
    gym.registry.update(before)


class Mine(gym.Env[Any, Any]):
    """An environment of one's own."""

    def __init__(self, **options: Any) -> None:
        pass


class Other(Mine):
    """Another one."""


@pytest.mark.usefixtures("registry")
def test_an_environment_that_is_registered_in_another_way_makes_another_run() -> None:
    wrapper = WrapperSpec("Wrapped", f"{__name__}:Wrapped", {})
    ways: list[dict[str, Any]] = [
        {"entry_point": Mine},
        {"entry_point": Other},
        {"entry_point": Mine, "kwargs": {"size": 3}},
        {"entry_point": Mine, "kwargs": {"size": 4}},
        {"entry_point": Mine, "kwargs": {"function": saw}},
        {"entry_point": Mine, "max_episode_steps": 10},
        {"entry_point": Mine, "reward_threshold": 1.0},
        {"entry_point": Mine, "additional_wrappers": (wrapper,)},
    ]
    spec = replace(SPEC, env_id="Mine-v0")
    texts = set()
    for way in ways:
        gym.registry.pop("Mine-v0", None)
        gym.register("Mine-v0", **way)
        texts.add(json.dumps(spec.identity()))
    assert len(texts) == len(ways)
    # a function of one's own makes it: then the registry says nothing
    gym.registry.pop("Mine-v0")
    of_function = replace(spec, make_env=make_env).identity()
    gym.register("Mine-v0", entry_point=Mine)
    assert replace(spec, make_env=make_env).identity() == of_function
    # a text names the same class
    by_class = spec.identity()
    gym.registry.pop("Mine-v0")
    gym.register("Mine-v0", entry_point=f"{__name__}:Mine")
    assert spec.identity() == by_class
    gym.registry.pop("Mine-v0")
    gym.register("Mine-v0", entry_point=lambda **options: Mine())
    with pytest.raises(
        TypeError, match=r"<lambda> of tests\.test_identity may be ano"
    ) as refused:
        spec.identity()
    assert str(refused.value).endswith("module; write it as: def NAME(...): return ...")


@pytest.mark.usefixtures("registry")
def test_the_module_before_a_colon_registers_it(modules: Modules) -> None:
    modules.write(
        registers="import gymnasium as gym\n"
        "class Env(gym.Env):\n    pass\n"
        "gym.register('Mine-v0', Env, kwargs={'size': 3}, reward_threshold=7.0)\n"
    )
    spec = replace(SPEC, env_id="registers:Mine-v0")
    identity = spec.identity()
    assert identity["environment"]["makers"] == ["registers.Env"]
    assert identity["environment"]["kwargs"] == {"size": 3}
    assert "registers" in identity["code"]
    assert spec.threshold() == 7.0
    assert replace(spec, make_env=make_env, env_id="absent:X-v0").threshold() == np.inf
    with pytest.raises(ModuleNotFoundError, match="absent"):
        replace(spec, env_id="absent:X-v0").identity()


@pytest.mark.usefixtures("registry")
def test_an_id_without_a_version_is_the_latest() -> None:
    for version in (1, 3, 2):
        gym.register(f"Mine-v{version}", Mine, reward_threshold=float(version))
    spec = registered("Mine")
    assert spec is not None
    assert spec.id == "Mine-v3"
    assert environment("Mine") == environment("Mine-v3") != environment("Mine-v2")
    assert replace(SPEC, env_id="Mine").threshold() == 3.0
    assert replace(SPEC, env_id="MountainCar-v0", solved_at=-90.0).threshold() == -90.0
    assert environment("Mine-v4") == ({}, [])
    assert environment("Nobodys-v0") == ({}, [])


# --- The same in every process

MODULE = """
import gymnasium as gym

def make_env(**options):
    return gym.make("CartPole-v1", **options)
"""
SCRIPT = """
import json
import sys
from dataclasses import dataclass
from functools import partial

import gymnasium as gym

from helper import make_env as of_module
from minidqn import DQNConfig, Spec
from minidqn.lab.processes import Processes

CARTPOLE = "gymnasium.envs.classic_control:CartPoleEnv"
gym.register("Mine-v0", CARTPOLE, max_episode_steps=7)

def make_env(**options):
    return gym.make("CartPole-v1", **options)

class Wrapped(gym.Wrapper):
    pass

@dataclass(frozen=True)
class Steps:
    height: float

    def __call__(self, step):
        return self.height

class Env(gym.Env):
    pass

gym.register("Own-v0", Env)

def specs():
    config = DQNConfig()
    yield Spec("CartPole-v1", config, 2000)
    yield Spec("CartPole-v1", config, 2000, make_env=make_env)
    yield Spec("CartPole-v1", config, 2000, make_env=of_module)
    yield Spec("CartPole-v1", config, 2000, make_env=partial(make_env, x=make_env))
    yield Spec("CartPole-v1", config, 2000, make_env=partial(of_module, 1))
    yield Spec("CartPole-v1", config, 2000, make_env=Env, train_wrapper=Wrapped)
    yield Spec("CartPole-v1", DQNConfig(epsilon=Steps(0.5)), 2000)
    yield Spec("Mine-v0", config, 2000)
    yield Spec("Own-v0", config, 2000)

def identity(spec):
    return spec.identity()

if __name__ == "__main__":
    if "late" in sys.argv:
        import minidqn.lab.cli
        import minidqn.lab.compare
        import matplotlib.pyplot
        import IPython
    here = [spec.identity() for spec in specs()]
    if "late" not in sys.argv:
        with Processes(1) as executor:
            there = [executor.submit(identity, spec).result() for spec in specs()]
        assert here == there
    print(json.dumps(here))
"""


def test_a_run_is_the_same_in_a_script_and_in_its_workers(tmp_path: Path) -> None:
    """And whatever was imported before, and if the script is run as a module."""
    (tmp_path / "helper.py").write_text(MODULE)
    (tmp_path / "script.py").write_text(SCRIPT)
    ways = (["script.py"], ["script.py", "late"], ["-m", "script"])
    printed = [identities_of(tmp_path, *way) for way in ways]
    assert printed[0] == printed[1] == printed[2]
    found = json.loads(printed[0])
    assert len({json.dumps(each) for each in found}) == len(found) == 9
    assert found[1]["make_env"] == "script.make_env"
    assert found[2]["make_env"] == "helper.make_env"
    assert {"script", "helper"} <= found[1]["code"].keys()
    assert "script" not in found[2]["code"]

    text = (tmp_path / "helper.py").read_text()
    (tmp_path / "helper.py").write_text(f"{text}# a comment\n")
    assert identities_of(tmp_path, "script.py", "late") == printed[0]
    (tmp_path / "helper.py").write_text(f"{text}LIMIT = 1\n")
    after = json.loads(identities_of(tmp_path, "script.py", "late"))
    assert [differences(*pair) for pair in zip(found, after, strict=True)] == [
        [],
        *[["another code: helper"]] * 5,
        ["another code: helper"],
        [],
        ["another code: helper"],
    ]


def identities_of(folder: Path, *command: str) -> str:
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# --- What is said


def test_differences_are_told_in_words() -> None:
    before = {
        "seed": 0,
        "gamma": 0.99,
        "same": [1, 2],
        "code": {"numpy": "2.0", "numba": "0.61", "same": "x", "gone": "y"},
        "task": "a.b",
    }
    now = {
        "seed": 1,
        "same": [1, 2],
        "code": {"numpy": "2.1", "numba": "0.62", "same": "x", "new": "z"},
        "task": "a.c",
    }
    assert differences(before, before) == []
    assert differences(before, now) == [
        "another code: gone, new, numba, numpy",
        "gamma 0.99 instead of None",
        "seed 0 instead of 1",
        "task a.b instead of a.c",
    ]
    many = {"code": {str(number): "x" for number in range(10)}}
    assert differences(many, {"code": {}}) == ["another code: 0, 1, 2, 3 and 6 more"]
    assert differences({}, many) == ["another code: 0, 1, 2, 3 and 6 more"]


def limited(limit: int) -> Any:
    """A decorator, which gives its function the name of the one it decorates."""

    def decorate(make: Any) -> Any:
        @wraps(make)
        def decorated(**options: Any) -> Any:
            return gym.wrappers.TimeLimit(make(**options), limit)

        return decorated

    return decorate


@limited(5)  # type: ignore[untyped-decorator]  # its type does not matter here
def decorated_env(**options: Any) -> Any:
    return gym.make("CartPole-v1", **options)


five = limited(5)(make_env)


def test_a_name_that_belongs_to_another_object() -> None:
    """functools.wraps copies names: five and make_env would be one identity."""
    assert as_plain(decorated_env) == f"{__name__}.decorated_env"
    with pytest.raises(TypeError, match="was made inside another function, and is not"):
        as_plain(five)


def test_a_function_of_a_module_that_was_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that reloads modules keeps the old functions."""
    (tmp_path / "again.py").write_text("def make(**options): return None")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("again")
    before = module.make
    importlib.reload(module)
    assert module.make is not before
    assert as_plain(before) == "again.make"


def test_values_that_python_takes_for_the_same() -> None:
    for was, now in ((True, 1), (1, 1.0), ({1: 5, "1": 7}, {1: 6, "1": 7})):
        before = {"x": as_plain(partial(dict, x=was))}
        after = {"x": as_plain(partial(dict, x=now))}
        assert len(differences(before, after)) == 1
        assert differences(before, before) == []
