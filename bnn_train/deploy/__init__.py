"""The network as a file of 1 bit a weight, and its runner, which needs neither torch nor Hydra."""
