"""What a byte says of an edge to a step that holds edges (kernels/steps.py)."""

FREE, CONNECTED = 1, 2  # it is trained; it is not pruned
