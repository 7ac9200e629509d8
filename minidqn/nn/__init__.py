"""Backpropagation from scratch: layers, a network, Adam.

It needs only NumPy and Numba.

Read layers.py first, then network.py and adam.py. More layers are in minidqn/parts.
"""
