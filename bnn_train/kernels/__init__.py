"""Loops over whole arrays, compiled for the processor at hand. Loads no torch."""
