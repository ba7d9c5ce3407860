"""What `import bnn_train` gives: training, and a trained network as an object. Prints nothing and ends nothing."""
