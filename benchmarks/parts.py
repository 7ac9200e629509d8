"""The parts of benchmarks/all_tables.py, in the order in which they are made.

What must not be disturbed comes first, what takes longest comes late, and the test of the shipped
agents, which reads the other tables, comes last.
"""

from dataclasses import dataclass, field

GAMES = [
    f"MinAtar/{game}-v0"
    for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
]
MINATAR = f"--epsilon 0.02 0.1 --envs {' '.join(GAMES)}"
# words of benchmarks/short_run.py
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3")
WITHOUT_NOISE = ("CartPole-v1 --set param_noise=0",)
SCALED = tuple(
    f"{env_id} --set normalize_obs={how}"
    for env_id in CLASSIC
    for how in ("running", "bounds", "False")
)
DRIFTING = (f"{WITHOUT_NOISE[0]} --set n_step=40 --set train_every=4",)
PLAIN = tuple(f"{env_id} --plain" for env_id in CLASSIC)
RARE_REWARDS = (
    "MountainCar-v0 --plain --set param_noise=0.2 --set normalize_obs=running",
)
EACH_PART = (
    *CLASSIC,
    *WITHOUT_NOISE,
    "CartPole-v1 --set n_step=1",
    "CartPole-v1 --set double=False",
    "CartPole-v1 --set dueling=True",
    "CartPole-v1 --set priority_alpha=0.6",
    "CartPole-v1 --set noisy=True --set epsilon=0.0",
    "CartPole-v1 --set quantiles=25",
    "CartPole-v1 --set layer_norm=True",
)

# what parts read, besides their own scripts
PACKAGES = "benchmarks/requirements.txt"  # of the other programs
CONTENDERS = ("benchmarks/contenders", PACKAGES)
RUNS_OF_SB3 = "benchmarks/results/plain_settings.csv"
TABLES_OF_TRAINED = tuple(  # benchmarks/trained.py shows what they have beside its own
    f"benchmarks/results/{name}.csv"
    for name in ("learning", "breakout_ram", "minatar", "pong", "games_won")
)


@dataclass(frozen=True)
class Part:
    """One command, and the files that it writes into benchmarks/results.

    In the command, {peers} and {keras} are other Pythons, and {work} is a folder of runs,
    in which the command goes on after it was stopped.
    """

    name: str
    command: str  # what comes after "python"
    files: tuple[str, ...]
    minutes: int  # roughly, on two cores
    with_peers: str = ""  # words that are added if there is {peers}
    quiet: bool = False  # nothing else may run on the machine
    packages: tuple[str, ...] = ()  # that it needs, besides those of minidqn
    environment: dict[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()  # what it depends on, besides what all parts do
    # words of benchmarks/short_run.py, for short runs that stand for this part: if they come
    # out the same on the commit that the first file names, the files may stay
    trains: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        return next(word for word in self.command.split() if word.endswith(".py"))


def three_files(name: str) -> tuple[str, str, str]:
    return f"{name}.md", f"{name}.csv", f"{name}.png"


def of_sb3(name: str) -> tuple[str, str]:
    """What a part reads that trains Stable-Baselines3, too."""
    return f"benchmarks/contenders/{name}.py", PACKAGES


PARTS = [
    Part(
        "speed",
        "benchmarks/speed.py --rounds 8 --peers {peers}",
        ("speed.md", "speed.json", "speed_growth.png"),
        minutes=25,
        quiet=True,
        reads=CONTENDERS,
    ),
    Part(
        "pixels",
        "benchmarks/pixels.py --rounds 20 --peers {peers}",
        ("pixels.md",),
        minutes=8,
        quiet=True,
        packages=("minatar",),
        reads=CONTENDERS,
    ),
    Part(
        "keras_tutorial",
        "benchmarks/keras_tutorial.py --keras {keras}",
        ("keras_tutorial.md",),
        minutes=2,
        quiet=True,
        reads=CONTENDERS,
    ),
    Part(
        "watch_it_learn",
        "benchmarks/watch_it_learn.py --seeds 10",
        ("watch_it_learn.md",),
        minutes=15,
        quiet=True,
        packages=("playwright",),
    ),
    # learning
    Part(
        "same_training",
        "benchmarks/same_training.py",
        ("same_training.md", "same_training.json"),
        minutes=10,
        packages=("ale_py", "minatar"),
        reads=("benchmarks/short_run.py",),
    ),
    Part(
        "learning",
        "benchmarks/learning.py --seeds 20 --work {work}",
        (*three_files("learning"), "sb3_cartpole.json"),
        minutes=45,
        with_peers="--peers {peers}",
        reads=of_sb3("sb3_cartpole"),
        trains=CLASSIC,
    ),
    Part(
        "one_page",
        "benchmarks/page.py --seeds 20",
        ("one_page.md",),
        minutes=5,
    ),
    Part(
        "cartpole_100",
        "benchmarks/learning.py --envs CartPole-v1 --seeds 100 --name cartpole_100 "
        "--work {work}",
        three_files("cartpole_100"),
        minutes=8,
        trains=("CartPole-v1",),
    ),
    Part(
        "cartpole_100_without_noise",
        "benchmarks/learning.py --envs CartPole-v1 --seeds 100 --set param_noise=0 "
        "--name cartpole_100_without_noise --work {work}",
        three_files("cartpole_100_without_noise"),
        minutes=8,
        trains=WITHOUT_NOISE,
    ),
    Part(
        "cartpole_100_avx2",  # the same with another way of rounding
        "benchmarks/learning.py --envs CartPole-v1 --seeds 100 "
        "--name cartpole_100_avx2 --work {work}",
        three_files("cartpole_100_avx2"),
        minutes=8,
        environment={"OPENBLAS_CORETYPE": "Haswell"},
        trains=("CartPole-v1",),
    ),
    Part(
        "best_possible",
        "benchmarks/best_possible.py",
        ("best_possible.md",),
        minutes=1,
    ),
    Part(
        "drift",
        "benchmarks/drift.py --seeds 90 0",
        ("drift.md",),
        minutes=1,
        trains=DRIFTING,
    ),
    Part(
        "plain_settings",
        "benchmarks/plain_settings.py --seeds 5 --work {work}",
        ("plain_settings.md", "plain_settings.csv"),
        minutes=100,
        with_peers="--peers {peers}",
        reads=of_sb3("sb3_plain"),
        trains=PLAIN,
    ),
    Part(
        "steps_to_solved",
        "benchmarks/steps_to_solved.py --seeds 10 --work {work}",
        ("steps_to_solved.md",),
        minutes=40,
        with_peers="--peers {peers}",
        reads=of_sb3("sb3_tuned"),
        trains=CLASSIC,
    ),
    Part(
        "normalize",
        "benchmarks/normalize.py --seeds 5 --work {work}",
        ("normalize.md",),
        minutes=10,
        trains=SCALED,
    ),
    Part(
        "rare_rewards",
        "benchmarks/plain_settings.py --envs MountainCar-v0 --set param_noise=0.2 "
        "--set normalize_obs=running --name rare_rewards --work {work}",
        ("rare_rewards.md", "rare_rewards.csv"),
        minutes=2,
        reads=(RUNS_OF_SB3,),
        trains=RARE_REWARDS,
    ),
    Part(
        "falling_rate",
        "benchmarks/plain_settings.py --envs CartPole-v1 LunarLander-v3 Unscaled "
        "ManyActions NoisyReward --set learning_rate=0.001:0 --name falling_rate "
        "--work {work}",
        ("falling_rate.md", "falling_rate.csv"),
        minutes=5,
        reads=(RUNS_OF_SB3,),
        trains=(*PLAIN, *CLASSIC),  # the examples have rates that fall
    ),
    Part(
        "tests_during_training",
        "benchmarks/tests_during_training.py",
        ("tests_during_training.md",),
        minutes=2,
    ),
    Part(
        "games_won",
        "benchmarks/games_won.py --seeds 5 --work {work}",
        ("games_won.md", "games_won.csv"),
        minutes=2,
        trains=("TicTacToe-v0", "Connect4-v0"),
    ),
    # robustness
    Part(
        "resume",
        "benchmarks/resume.py",
        ("resume.md",),
        minutes=20,
        packages=("minatar",),
    ),
    Part(
        "interrupts",
        "benchmarks/interrupts.py",
        ("interrupts.md",),
        minutes=20,
    ),
    Part(
        "sweeps",
        "benchmarks/sweeps.py",
        ("sweeps.md",),
        minutes=8,
    ),
    Part(
        "soak",
        "benchmarks/soak.py",
        ("soak.md",),
        minutes=5,
    ),
    Part(
        "mutants",
        "benchmarks/mutants.py --mutants 300 --work {work}",
        ("mutants.md",),
        minutes=60,
        reads=("tests",),
    ),
    # learning that takes longer
    Part(
        "five_tutorials",
        "benchmarks/tutorials.py --seeds 20 --work {work}",
        ("five_tutorials.md", "five_tutorials.png"),
        minutes=90,
        packages=("ale_py",),
    ),
    Part(
        "t5_pytorch",
        "{peers} benchmarks/t5_pytorch.py",
        ("t5_pytorch.md",),
        minutes=10,
    ),
    Part(
        "ablation",
        "benchmarks/ablation.py --seeds 10 --work {work}",
        three_files("ablation"),
        minutes=120,
        trains=EACH_PART,
    ),
    Part(
        "breakout_ram",
        "benchmarks/learning.py --envs ALE/Breakout-v5 --seeds 3 --name breakout_ram "
        "--work {work}",
        three_files("breakout_ram"),
        minutes=45,
        packages=("ale_py",),
        trains=("ALE/Breakout-v5",),
    ),
    Part(
        "pong",
        "benchmarks/learning.py --envs PongNoFrameskip-v4 --seeds 3 --name pong "
        "--work {work}",
        three_files("pong"),
        minutes=120,
        packages=("ale_py",),
        trains=("PongNoFrameskip-v4",),
    ),
    Part(
        "pong-v5",
        "benchmarks/atari.py ALE/Pong-v5 --work {work}",
        ("pong-v5.csv", "pong-v5.md"),
        minutes=80,
        packages=("ale_py",),
    ),
    Part(
        "breakoutnoframeskip-v4",
        "benchmarks/atari.py BreakoutNoFrameskip-v4 --work {work}",
        ("breakoutnoframeskip-v4.csv", "breakoutnoframeskip-v4.md"),
        minutes=60,
        packages=("ale_py",),
    ),
    Part(
        "minatar",
        f"benchmarks/learning.py --seeds 5 --name minatar {MINATAR} --work {{work}}",
        three_files("minatar"),
        minutes=150,
        packages=("minatar",),
        trains=tuple(GAMES),
    ),
    Part(
        "minatar_5m",
        "benchmarks/learning.py --seeds 3 --steps 5000000 --name minatar_5m "
        f"{MINATAR} --work {{work}}",
        three_files("minatar_5m"),
        minutes=360,
        packages=("minatar",),
        trains=tuple(GAMES),
    ),
    Part(
        "trained",
        "benchmarks/trained.py",
        ("trained.md",),
        minutes=15,
        packages=("ale_py", "minatar"),
        reads=("examples/trained", *TABLES_OF_TRAINED),
    ),
]
# made once, from runs that came before learning curves were kept; see docs/reproduce.md
WITHOUT_A_COMMAND = ("minatar_5m_curves.json",)
