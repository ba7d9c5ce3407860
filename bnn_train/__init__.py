"""bnn_train: train binary neural networks from configuration files. The command line is bnn_train.cli."""
