"""Chosen edges: single weights that are trained alone, frozen, pruned or penalised, as rules say."""
