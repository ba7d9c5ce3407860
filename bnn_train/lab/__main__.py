"""`python -m bnn_train.lab` is `bnn-lab`, also from a checkout that is not installed."""

from bnn_train.cli import lab

if __name__ == "__main__":
    lab()
