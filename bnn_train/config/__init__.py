"""The typed configuration: one file per group of configs/, one dataclass per option that has keys of its own. Loads no torch."""
