"""A binary network of one's own in a loop of one's own: plain PyTorch, with the layers of bnn_train."""

import torch
from torch import nn

import bnn_train

torch.manual_seed(0)
ways = torch.randn(3, 64)  # three classes: directions in 64 dimensions, with noise
labels = torch.randint(3, (2000,))
inputs = ways[labels] + 2 * torch.randn(2000, 64)
train, test = slice(0, 1500), slice(1500, None)

network = nn.Sequential(
    bnn_train.BinaryLinear(64, 256, estimator=None),  # real inputs, binary weights
    nn.BatchNorm1d(256),
    bnn_train.BinaryLinear(256, 256, bnn_train.Sign(scaling="mean"), bnn_train.Ste("approx_sign")),
    nn.BatchNorm1d(256),
    nn.Linear(256, 3),
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
for _epoch in range(5):
    for batch in torch.randperm(1500).split(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[train][batch]), labels[train][batch]).backward()
        optimizer.step()
        bnn_train.constrain(network, lr=0.01)  # latent weights keep to their bounds

network.eval()
accuracy = (network(inputs[test]).argmax(dim=1) == labels[test]).float().mean().item()
print(f"test accuracy {accuracy:.1%}, weights {network[2].binary_weight().unique().tolist()}")  # noqa: T201
