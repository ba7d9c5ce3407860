"""Compiled loops: products of packed signs, the fastest exact ones of what is installed, and optimizers' steps. Loads no torch."""
