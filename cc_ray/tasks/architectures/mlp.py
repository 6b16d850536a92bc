"""Perceptrons on rows of tables: linear layers with ReLU between them.

Source: Gorishniy et al., 2021, "Revisiting Deep Learning Models for Tabular Data" (https://arxiv.org/abs/2106.11959).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """A multilayer perceptron, (n, inputs) to (n, outputs).

    Args:
        inputs: Columns of its inputs.
        outputs: Columns of its outputs.
        hidden: Width of each hidden layer.
        categories: Indices of each of the last inputs, which are embedded.
        embedding: Width of an embedding at most; of few indices half their number.
        dropout: Share of hidden values that are left out in training, in [0, 1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        categories: Sequence[int] = (),
        embedding: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.numbers = inputs - len(categories)
        self.embeddings = nn.ModuleList(nn.Embedding(count, min(embedding, (count + 1) // 2)) for count in categories)
        embedded = sum(each.embedding_dim for each in self.embeddings)  # type: ignore[misc]
        widths = [self.numbers + embedded, *hidden]
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.extend([nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)])
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, (n, outputs)."""
        numbers, indices = inputs[:, : self.numbers], inputs[:, self.numbers :].long()
        embedded = [embed(indices[:, place]) for place, embed in enumerate(self.embeddings)]
        return self.head(self.layers(torch.cat([numbers, *embedded], dim=1)))  # type: ignore[no-any-return]
