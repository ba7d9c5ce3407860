"""The loop: training steps, evaluation after every epoch, the loss, and the checks of what came out. Knows no files."""
