"""The lab: everything around an agent. It trains, tests, saves, draws and compares agents.

The lesson (nn/, targets.py, replay.py, policy.py, agent.py) never imports it.
"""
