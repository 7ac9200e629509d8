"""The lab: everything around an agent. It trains, tests, saves, plots and animates agents.

The lesson, the parts and the checks never import it.
"""
