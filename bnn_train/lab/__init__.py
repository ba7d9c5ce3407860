"""The laboratory: measures gradient estimators of stochastic binary networks against the exact gradient."""
