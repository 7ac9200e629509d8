"""Backpropagation from scratch: layers, a network, Adam.

It needs NumPy and Numba alone.

Read layers.py first, then network.py and adam.py. More layers are in minidqn/parts.
"""
