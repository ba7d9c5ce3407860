"""Datasets as uint8 tensors on the device; batches, augmentation and order as pure functions of them.

Nothing is imported here: the processes that decode images load bnn_train.data.decode, and with it no torch.
"""
