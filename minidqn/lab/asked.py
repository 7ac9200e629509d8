"""The run that a command line asks for, as a Spec."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from minidqn import examples
from minidqn.lab.checkpoint import saved_settings
from minidqn.lab.folder import AGENT, CHECKPOINT
from minidqn.lab.parsing import parse, replaced_decays
from minidqn.lab.places import begun, short_name
from minidqn.lab.settings import changed, from_here, own_schedules
from minidqn.lab.spec import Spec
from minidqn.lab.tuned import MakeSpec, has_example, with_changes


def spec_of(args: Namespace, make_spec: MakeSpec) -> Spec:
    """The run that is asked for. Prints a line for each decay that becomes constant."""
    spec = base_of(args, make_spec)
    if args.start is None:
        before = spec.config
        changes = {name: parse(name, text, spec.steps) for name, text in args.set}
        spec = with_changes(spec, changes)
    else:
        spec, counted = from_saved(spec, args)
        before = spec.config
        left = spec.steps - counted["step"]  # a decay over the run is one over these
        changes = {name: parse(name, text, left) for name, text in args.set}
        config = changed(before, from_here(changes, counted))
        spec = replace(spec, config=config)
    if args.num_envs is not None:
        spec = replace(spec, num_envs=args.num_envs)
    spec = with_test(spec, args)
    if args.until_solved:
        spec = until_solved(spec)
    for line in replaced_decays(before, changes):
        print(line)
    return spec


def base_of(args: Namespace, make_spec: MakeSpec) -> Spec:
    """The run of a script or an environment, with the seed and the steps of `args`."""
    options: dict[str, Any] = {}
    for name in ("steps", "seed"):
        value = getattr(args, name, None)  # watch has no steps
        if value is not None:
            options[name] = value
    return make_spec(**options)


def with_test(spec: Spec, args: Namespace) -> Spec:
    """The run, with the options --test-episodes and --test-max-steps."""
    for name in ("test_episodes", "test_max_steps"):
        value = getattr(args, name)
        if value is not None:
            spec = replace(spec, **{name: value})
    return spec


def until_solved(spec: Spec) -> Spec:
    """The run, with the option --until-solved."""
    if spec.threshold() == float("inf"):
        raise ValueError(
            "--until-solved: the environment does not say which mean return counts as "
            "solved"
        )
    return replace(spec, until_solved=True)


def from_saved(spec: Spec, args: Namespace) -> tuple[Spec, dict[str, int]]:
    """A run that begins with a saved agent, and has its settings.

    Also the steps, updates and episodes that the agent has made: see Progress.counted.

    If the whole run was saved, the new one also continues its steps and its seed.
    """
    path = saved_agent(args.start, (CHECKPOINT, AGENT))
    own: Any = own_schedules(spec.config)
    config, its_seed, counted = saved_settings(path, spec.network, spec.agent, **own)
    if not counted:
        print(
            f"{path} has only the policy: the run begins at step 0, with an empty "
            "replay buffer"
        )
        counted = {"step": 0, "update": 0, "episode": 0}
    steps = spec.steps
    seed = spec.seed
    if counted["step"] > 0:
        if args.seed is None:
            seed = its_seed
        if args.steps is None:
            steps = counted["step"] + spec.steps
    spec = replace(spec, start=path, config=config, steps=steps, seed=seed, name="")
    return spec, counted


def agent_to_watch(args: Namespace, spec: Spec) -> Path:
    """The file of the agent of --from, or minidqn's own, or else the one in runs/."""
    if args.start is not None:
        return saved_agent(args.start, (AGENT, CHECKPOINT))
    name = short_name(spec.env_id)
    shipped = examples.FOLDER / "trained" / f"{name}.safetensors"
    if has_example(spec.env_id) and shipped.exists():
        return shipped
    path = Path("runs") / name
    others = [folder for folder in begun(path) if folder != path]
    if others:
        print(f"There are other runs: --from {others[0]} shows the last one")
    elif not path.exists():
        raise FileNotFoundError(
            f"there is no agent of {spec.env_id} yet: train one, or give one with "
            "--from"
        )
    return saved_agent(path, (AGENT, CHECKPOINT))


def saved_agent(path: Path, names: tuple[str, ...]) -> Path:
    """The file of a saved agent; in a folder, the first of `names` that exists.

    Raises FileNotFoundError if there is none.
    """
    if path.is_dir():
        for name in names:
            if (path / name).exists():
                return path / name
        raise FileNotFoundError(f"there is no saved agent in {path}")
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return path
