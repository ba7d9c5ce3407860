"""Products of packed signs: the fastest exact ones of what is installed. Loads no torch."""
