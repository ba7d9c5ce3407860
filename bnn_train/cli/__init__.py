"""The commands, one file each, and Hydra's side of them: composing, names of directories, hooks, errors in one line."""
