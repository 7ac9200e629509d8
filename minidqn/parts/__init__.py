"""Ideas that came after 2015, and inputs other than vectors: one file for each.

Each can be read, or left out, by itself. The settings switch them on, and `DQN` puts
them where they belong: layers into the network (qnetwork.py), quantiles in the place of
the loss, priorities in the place of the uniform draw, repeated actions in the place of
epsilon-greedy.
"""
