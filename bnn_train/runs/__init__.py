"""A run and its directory: assembling it, training, saving, continuing, its result, and a saved network again."""
