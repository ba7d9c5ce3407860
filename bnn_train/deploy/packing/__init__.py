"""From a torch network to packed operations: traced, rewritten, without what is the same for every image."""
