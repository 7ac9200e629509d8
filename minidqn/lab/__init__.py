"""The lab: everything around an agent: training, tests, saving, pictures, runs.

The lesson, the parts and the checks never import it.
"""
