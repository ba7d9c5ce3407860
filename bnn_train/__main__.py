"""`python -m bnn_train` is `bnn-train`, also from a checkout that is not installed."""

from bnn_train.cli.train import main

if __name__ == "__main__":
    main()
