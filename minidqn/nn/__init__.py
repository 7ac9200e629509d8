"""Backpropagation from scratch: layers, a network, Adam. It needs NumPy and Numba alone.

Read layers.py first, then network.py and adam.py. parts.py holds the layers that made DQN
better since 2015; each can be read, or skipped, by itself.
"""
