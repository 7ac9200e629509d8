"""Learn to land a spacecraft between two flags.

It has a main engine and two small ones at its sides; each step one fires one of them
or none. Coming closer, slower and upright is rewarded, touching down too; a crash
costs 100, coming to rest brings 100, and fuel costs a little. From 200 on it counts
as solved. After 1000 steps the episode is cut, which a craft that hovers to be safe
finds out.

    python examples/lunarlander.py --seed 1
"""

from minidqn.cli import main

if __name__ == "__main__":
    main("LunarLander-v3", film_steps=400)
