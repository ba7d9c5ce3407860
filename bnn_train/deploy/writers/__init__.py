"""Other formats of an exported network: each one writer on the packed operations, proven against the runner."""
