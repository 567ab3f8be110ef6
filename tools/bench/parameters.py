"""The model's parameters as a PyTorch engineer would hold them: a few big leaves and named views of them.

Matrices that multiply the same input lie next to each other (Q, K and V; the click and the conversion head), so that one view serves
them all. Every embedding table is a slice of one big table. Clipping and AdamW then see three tensors, not a hundred.
"""

import math
import re

import numpy as np
import torch

FUSED = ((r"^(encoder\.\d+\.attention)\.([wb])[qkv]$", r"\1.\2qkv"),
         (r"^head\.(?:click|conversion)\.", "head.item."), (r"^head\.list_(?:click|conversion)\.", "head.list."))
DECAYED = (".weight", ".wq", ".wk", ".wv", ".wo")
TABLES = (".id", ".term", ".age", ".action", ".position")


def is_table(name):
    return ".field." in name or name.endswith(TABLES)


def fused_name(name):
    for pattern, to in FUSED:
        name = re.sub(pattern, to, name)
    return name


class Parameters:
    def __init__(self, file):
        """file: Safetensors of a model, with param.<name>"""
        names = [k[len("param."):] for k in file.names("param.")]
        shape = {k: file.shape("param." + k) for k in names}
        self.size = {k: shape[k][0] for k in names if is_table(k)}
        self.start = dict(zip(self.size, np.cumsum([0, *self.size.values()]).tolist()))
        self.table = torch.empty(sum(self.size.values()), shape["item.id"][1])  # (all rows, d)
        for k, first in self.start.items():
            file.read("param." + k, self.table[first:first + self.size[k]].numpy())
        self.match_width = shape["head.click.match.weight"][1]                   # heads * columns

        groups = {}
        for k in names:
            if k not in self.size:
                groups.setdefault(fused_name(k), []).append(k)
        self.spans = [[], []]   # of each leaf: (fused name, shape)
        self.place = {}         # name -> (leaf, offset, shape)
        ends = [0, 0]
        for fused, members in groups.items():
            members.sort(key=lambda k: ("qkv".find(k[-1]), k))
            leaf = 0 if members[0].endswith(DECAYED) else 1
            self.spans[leaf].append((fused, (sum(shape[k][0] for k in members), *shape[members[0]][1:])))
            for k in members:
                self.place[k] = (leaf, ends[leaf], shape[k])
                ends[leaf] += math.prod(shape[k])
        self.leaves = [torch.empty(n) for n in ends]  # with weight decay, without
        for k, (leaf, at, size) in self.place.items():
            file.read("param." + k, self.slice(self.leaves[leaf], at, size).numpy())
        for leaf in self.leaves:
            leaf.requires_grad_()

    @staticmethod
    def slice(flat, at, shape):
        return flat[at:at + math.prod(shape)].view(shape)

    def views(self, leaves):
        """Fused name -> view of a leaf."""
        out = {}
        for flat, spans in zip(leaves, self.spans):
            for part, (name, shape) in zip(flat.split([math.prod(s) for _, s in spans]), spans):
                out[name] = part.view(shape)
        return out

    def gradients(self, table):
        """Name -> gradient; `table` is the dense gradient of the big table."""
        out = {k: table[first:first + self.size[k]] for k, first in self.start.items()}
        return out | {k: self.slice(self.leaves[leaf].grad, at, shape) for k, (leaf, at, shape) in self.place.items()}
