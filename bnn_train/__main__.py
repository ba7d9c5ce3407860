"""`python -m bnn_train` is `bnn-train`, also from a checkout that is not installed."""

from bnn_train.cli.start import train

if __name__ == "__main__":
    train()
