"""Train an agent in an environment, test it and show it; or compare many agents.

python -m minidqn CartPole-v1
python -m minidqn sweep CartPole-v1 --seeds 20 --set learning_rate=1e-3/3e-3
"""

from minidqn.lab.cli import main

if __name__ == "__main__":
    main()
