"""Keras's part of keras_tutorial.py: what a tutorial does for each step, in its own calls."""

import os

os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import numpy as np
from worker import Call, serve

GAMMA, MEMORY = 0.95, 2_500


def tutorial_step(hidden: list[int], batch: int) -> Call:
    """Choose an action, draw a batch, value it and what came next, and fit."""
    layers = [keras.layers.Dense(n, activation="relu") for n in hidden]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(1e-3))
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(size=(2, MEMORY, 4)).astype(np.float32)
    actions, rewards = rng.integers(2, size=MEMORY), np.ones(MEMORY, np.float32)
    goes_on = rng.random(MEMORY) > 0.05

    def step() -> float:
        rows = rng.integers(MEMORY, size=batch)
        np.argmax(model.predict(obs[rows[:1]], verbose=0))
        targets = model.predict(obs[rows], verbose=0)
        best = model.predict(next_obs[rows], verbose=0).max(axis=1)
        targets[np.arange(batch), actions[rows]] = (
            rewards[rows] + GAMMA * goes_on[rows] * best
        )
        fit = model.fit(obs[rows], targets, epochs=1, verbose=0)
        return float(fit.history["loss"][0])

    return step


if __name__ == "__main__":
    serve({"tutorial_step": tutorial_step}, {})
