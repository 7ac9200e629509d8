"""A mask inside the observation goes to where an agent looks for it; and two board games."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation

from minidqn import (
    DQN,
    History,
    MaskToInfo,
    Spec,
    animate,
    evaluate,
    load_run,
    run,
    save,
    train,
    tuned,
    tuned_spec,
)
from minidqn.nn.layers import Array

from .test_resume import assert_same
from .test_training import agent_for

board_games: Any = import_module("minidqn.examples.board_games")
Connect4: Any = board_games.Connect4
TicTacToe: Any = board_games.TicTacToe
GAMES = ("TicTacToe", "Connect4")
SEEN = Box(0.0, 9.0, (1,), np.float32)
MASK = Box(0, 1, (3,), np.int8)


class Counter(gym.Env[dict[str, Any], int]):
    """Counts to 3. Action 0 is never allowed."""

    action_space: Any = Discrete(3)

    def __init__(self, **spaces: Any) -> None:
        self.observation_space = Dict(spaces or {"seen": SEEN, "action_mask": MASK})
        self.count = 0

    def observed(self) -> dict[str, Any]:
        values = {"action_mask": np.array([0, 1, 1], np.int8), "allowed": [0, 1, 0]}
        numbers = {
            "seen": np.array([self.count], np.float32),
            "more": np.zeros(2, np.float32),
        }
        return {name: (values | numbers)[name] for name in self.spaces()}

    def spaces(self) -> Any:
        space: Any = self.observation_space
        return space.spaces

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return self.observed(), {"from": "reset"}

    def step(self, action: int) -> Any:
        assert action != 0
        self.count += 1
        return self.observed(), 1.0, self.count == 3, False, {"from": "step"}


# --- The wrapper


def test_the_mask_moves_from_the_observation_to_the_info() -> None:
    env = MaskToInfo(Counter())
    assert env.observation_space == SEEN
    obs, info = env.reset()
    assert obs.tolist() == [0.0]
    assert info["action_mask"].tolist() == [0, 1, 1]
    obs, reward, terminated, truncated, info = env.step(1)
    assert (obs.tolist(), reward, terminated, truncated) == ([1.0], 1.0, False, False)
    assert info["action_mask"].tolist() == [0, 1, 1]
    assert info["from"] == "step"  # what else the environment says stays


def test_a_mask_of_another_name() -> None:
    env = MaskToInfo(Counter(seen=SEEN, allowed=MASK), mask="allowed")
    _, info = env.reset()
    assert info["action_mask"] == [0, 1, 0]
    assert env.observation_space == SEEN


def test_several_other_entries_stay_a_dict() -> None:
    more = Box(0.0, 1.0, (2,))
    env = MaskToInfo(Counter(seen=SEEN, more=more, action_mask=MASK))
    assert env.observation_space == Dict(seen=SEEN, more=more)
    obs, _ = env.reset()
    assert env.observation_space.contains(obs)
    flat = FlattenObservation(env)
    assert flat.observation_space.shape == (3,)
    train(agent_for(flat), flat, 20, progress=False)


def test_what_the_environment_gave_is_left_as_it_was() -> None:
    """It may give the same dicts each time."""
    inside = Counter()
    parts, info = inside.observed(), {"from": "reset"}
    inside.reset = lambda **options: (parts, info)  # type: ignore[method-assign]  # a stub
    env = MaskToInfo(inside)
    for _ in range(2):
        env.reset()
    assert set(parts) == {"seen", "action_mask"}
    assert info == {"from": "reset"}


@pytest.mark.parametrize(
    ("spaces", "mask", "error", "words"),
    [
        (
            {"seen": SEEN, "mask": MASK},
            "action_mask",
            ValueError,
            "has the entries mask, seen: expected 'action_mask' among them; "
            "MaskToInfo(env, mask=NAME) takes a mask of another name",
        ),
        (
            {"action_mask": MASK},
            "action_mask",
            ValueError,
            "expected something to observe beside the mask",
        ),
        (
            {"seen": SEEN, "action_mask": Box(0, 1, (2,), np.int8)},
            "action_mask",
            ValueError,
            "the mask 'action_mask' has shape (2,): expected (3,), a 0 or 1 for each",
        ),
        (
            {"seen": SEEN, "action_mask": Discrete(2)},
            "action_mask",
            ValueError,
            "the mask 'action_mask' has shape (): expected (3,)",
        ),
    ],
)
def test_masks_that_are_not_there_or_do_not_fit(
    spaces: Any, mask: str, error: Any, words: str
) -> None:
    with pytest.raises(error) as caught:
        MaskToInfo(Counter(**spaces), mask)
    assert words in str(caught.value)


def test_environments_that_it_cannot_wrap() -> None:
    for flat in (gym.make("CartPole-v1"), FlattenObservation(Counter())):
        with pytest.raises(TypeError, match="expected a Dict with a mask in it: Mask"):
            MaskToInfo(flat)
    with pytest.raises(TypeError, match="expected one environment; in a vector, wrap"):
        MaskToInfo(SyncVectorEnv([Counter]))  # type: ignore[arg-type]  # it takes any dtype
    env = Counter()
    env.action_space = gym.spaces.MultiBinary(3)
    with pytest.raises(TypeError, match="action space MultiBinary"):
        MaskToInfo(env)


@pytest.mark.parametrize("mode", list(AutoresetMode)[::2])
def test_in_a_vector_each_is_wrapped(mode: AutoresetMode) -> None:
    assert mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED)
    make = partial(board_games.make_env, "TicTacToe")
    vector = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    agent = agent_for(vector, 3, epsilon=0.5)
    train(agent, vector, 300, progress=False)  # the games raise on a forbidden move
    assert agent.replay.mask.array is not None
    assert not agent.replay.mask.array.all()


# --- Stopped in the middle of a game


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("stop", [41, 42, 43])
def test_a_game_goes_on_exactly(game: str, stop: int, tmp_path: Path) -> None:
    def new() -> Any:
        return board_games.make_env(game)

    agent = agent_for(new(), epsilon=0.5)
    history = train(agent, new(), 90, progress=False)
    twin, twin_history = agent_for(new(), epsilon=0.5), History()
    train(twin, new(), stop, history=twin_history, progress=False)
    save(twin, tmp_path / "checkpoint.safetensors", twin_history)
    twin, twin_history = load_run(tmp_path / "checkpoint.safetensors")
    train(twin, new(), 90 - stop, history=twin_history, progress=False)
    assert_same((agent, history), (twin, twin_history))


# --- The rules of the games


def at(game: Any, text: str) -> Any:
    """A game with this board: X is the agent, O the opponent, "." an empty cell."""
    game.reset(seed=0)
    letters = {".": 0, "X": 1, "O": -1}
    rows = [[letters[letter] for letter in row] for row in text.split()]
    game.board[:] = rows
    return game


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ("XX. OO. ...", 2),  # a row
        ("OO. XX. ...", 5),
        ("XO. XO. ...", 6),  # a column
        ("O.X O.X ...", 8),
        ("XO. OX. ...", 8),  # the diagonals
        ("OOX .X. ...", 6),
    ],
)
def test_a_line_of_three_wins(text: str, move: int) -> None:
    obs, reward, terminated, truncated, _ = at(TicTacToe(), text).step(move)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert obs["action_mask"].tolist() == [0] * 9
    assert obs["observation"][..., 0].sum() == 3
    assert obs["observation"][..., 1].sum() == 2  # the opponent has no answer


EMPTY = ".......\n" * 5


@pytest.mark.parametrize(
    ("text", "move", "reward"),
    [
        (EMPTY + "XXX.OOO", 3, 1.0),
        (EMPTY + "OO.X.XX", 4, 1.0),
        (EMPTY + "OOX..XX", 3, 0.0),  # one is missing
        (".......\n" * 3 + "X......\n" * 3, 0, 1.0),
        (".......\n" * 2 + "......X\n.....XO\n....XOO\n....OOO", 3, 1.0),
        (".......\n" * 2 + "X......\nOX.....\nOOX....\nOOO....", 3, 1.0),
    ],
)
def test_a_line_of_four_wins(text: str, move: int, reward: float) -> None:
    """The stone falls down in its column."""
    game = at(Connect4(), text)
    assert game.step(move)[1] == reward


def by_hand(stones: Array) -> bool:
    """Whether four of the stones, (6, 7), are in a line: each cell and direction."""
    padded = np.zeros((12, 15), bool)
    padded[3:9, 4:11] = stones
    for row in range(3, 9):
        for column in range(4, 11):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                cells = [padded[row + i * down, column + i * right] for i in range(4)]
                if all(cells):
                    return True
    return False


def test_there_are_as_many_lines_as_the_games_have() -> None:
    """8, and 69: 24 along the rows, 21 along the columns, 12 each diagonally."""
    assert TicTacToe().lines.shape == (8, 3)
    lines = Connect4().lines
    assert lines.shape == (69, 4)
    step = lines[:, 1] - lines[:, 0]
    assert np.bincount(step)[[1, 6, 7, 8]].tolist() == [24, 12, 21, 12]


@pytest.mark.parametrize("seed", range(40))
def test_connect_four_ends_when_and_only_when_there_is_a_line(seed: int) -> None:
    game = Connect4()
    obs, _ = game.reset(seed=seed)
    rng = np.random.default_rng(seed)
    over = False
    while not over:
        assert not by_hand(game.board == 1)
        assert not by_hand(game.board == -1)
        moves = np.flatnonzero(obs["action_mask"])
        assert set(moves) == {c for c in range(7) if 0 in game.board[:, c]}
        obs, reward, over, _, _ = game.step(int(rng.choice(moves)))
        assert game.observation_space.contains(obs)
        # no stone hangs in the air
        stones = game.board != 0
        assert (stones[1:] | ~stones[:-1]).all()
    assert by_hand(game.board == 1) == (reward == 1.0)
    assert by_hand(game.board == -1) == (reward == -1.0)


def test_the_opponent_wins_with_a_line_of_its_own() -> None:
    game = at(TicTacToe(), "OO. XXO XO.")  # it has one cell left
    obs, reward, terminated, _, _ = game.step(8)
    assert (reward, terminated) == (-1.0, True)
    assert obs["action_mask"].tolist() == [0] * 9


def test_a_full_board_without_a_line_is_a_draw() -> None:
    obs, reward, terminated, truncated, _ = at(TicTacToe(), "XOX XOO OX.").step(8)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert obs["action_mask"].tolist() == [0] * 9


def test_a_column_that_is_full_is_not_allowed() -> None:
    game = at(Connect4(), "X......\nO......\nX......\nO......\nX......\nO......")
    assert game.observed()["action_mask"].tolist() == [0, 1, 1, 1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"move 0 is not allowed: expected one of \[1"):
        game.step(0)


@pytest.mark.parametrize("move", [0, 4, 9, -1])
def test_a_forbidden_move_is_refused(move: int) -> None:
    game = at(TicTacToe(), "X.. .O. ...")
    with pytest.raises(ValueError, match=f"move {move} is not allowed: expected one "):
        game.step(move)
    assert (game.board != 0).sum() == 2


def test_after_the_end_no_move_is_allowed() -> None:
    game = at(TicTacToe(), "XX. OO. ...")
    game.step(2)
    with pytest.raises(
        ValueError, match=r"move 5 is not allowed: expected one of \[\]"
    ):
        game.step(5)


@pytest.mark.parametrize("game", GAMES)
def test_the_seed_settles_a_game_and_who_begins(game: str) -> None:
    env = board_games.GAMES[game]()
    boards = []
    for seed in range(200):
        obs, _ = env.reset(seed=seed)
        boards.append(obs["observation"].tobytes())
        again, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(again["observation"], obs["observation"])
    stones = [sum(board) for board in boards]
    assert set(stones) == {0, 1}  # the opponent begins, or does not
    assert 70 < sum(stones) < 130
    assert len(set(boards)) == 1 + env.n_actions


# --- Drawn, and learned


def test_a_picture_of_coloured_squares() -> None:
    game = at(Connect4(render_mode="rgb_array"), EMPTY + "X.....O")
    picture = game.render()
    size = board_games.SIZE
    assert (picture.shape, picture.dtype) == ((6 * size, 7 * size, 3), np.uint8)
    middle = picture[size // 2 :: size, size // 2 :: size]  # of each cell
    assert tuple(middle[5, 0]) == board_games.COLOURS[1]
    assert tuple(middle[5, 6]) == board_games.COLOURS[-1]
    assert (middle[:5] == board_games.COLOURS[0]).all()


def test_a_board_in_letters(capsys: pytest.CaptureFixture[str]) -> None:
    game = at(TicTacToe(render_mode="human"), "X.. .O. ...")
    capsys.readouterr()
    game.render()
    assert capsys.readouterr().out == "X . .\n. O .\n. . .\n\n"
    game.step(1)  # it shows itself
    assert capsys.readouterr().out.startswith("X X ")


def test_a_film_of_a_game(tmp_path: Path) -> None:
    env = board_games.make_env("Connect4", render_mode="rgb_array")
    film = animate({"new": agent_for(env)}, env, tmp_path / "film.gif", [0], 5)
    assert film.startswith(b"GIF")


def test_a_run_of_a_game(tmp_path: Path) -> None:
    spec = tuned_spec("TicTacToe-v0", 1_100)
    assert isinstance(spec, Spec)
    result = run(spec, tmp_path / "run", progress=False)
    assert (result["steps"], len(result["eval_returns"])) == (1_100, 1_000)
    assert set(result["eval_returns"]) == {-1.0, 0.0, 1.0}
    assert run(spec, tmp_path / "run", progress=False) == result


def test_tic_tac_toe_is_learned_in_a_short_run() -> None:
    """Random play wins about 43 games of 100, and loses as many."""
    env = board_games.make_env("TicTacToe")
    config = tuned("TicTacToe-v0", 8_000)
    agent = DQN(env.observation_space, env.action_space, config, seed=0)
    train(agent, env, 8_000, progress=False)
    won = evaluate(agent, env, 500, progress=False) == 1.0
    assert won.mean() > 0.75
