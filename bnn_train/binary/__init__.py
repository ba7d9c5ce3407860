"""The heart: noise distributions, estimators, weight binarizers, binary layers. Knows nothing of models, data or training."""
