"""Ideas that came after 2015, and inputs other than vectors: one file for each.

Each can be read, or left out, independently. The settings switch them on. Layers then
join the network (qnetwork.py). Quantiles replace the loss, priorities the uniform draw,
and repeated actions the plain epsilon-greedy ones (assembly.py).
"""
