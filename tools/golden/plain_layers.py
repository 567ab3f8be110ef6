"""The layers in PyTorch, list by list in plain loops: no padding, no masks, nothing shared with the C++ code.

`p` is a dict of parameters by their C++ names; a layer reads the ones that begin with its own name.
"""

import math

import torch
import torch.nn.functional as F


def linear(p, name, x):
    y = x @ p[name + ".weight"].T
    return y + p[name + ".bias"] if name + ".bias" in p else y


def layer_norm(p, name, x):
    return F.layer_norm(x, (x.shape[-1],), p[name + ".gamma"], p[name + ".beta"], eps=1e-5)


def feed_forward(p, name, x):
    return linear(p, name + ".down", F.gelu(linear(p, name + ".up", x)))


def bag_mean(table, ids):
    """The mean of a bag's rows; zeros for an empty bag."""
    if len(ids) == 0:
        return torch.zeros(table.shape[1], dtype=table.dtype)
    return torch.stack([table[i] for i in ids]).mean(0)


def attention(q, k, v, heads, null_k=None, null_v=None):
    """softmax(q k^T / sqrt(d_head)) v, head by head, for one list: q (queries, d), k and v (keys, d)."""
    if null_k is not None:
        k, v = torch.cat([k, null_k[None]]), torch.cat([v, null_v[None]])
    if k.shape[0] == 0:
        return torch.zeros_like(q)
    width = q.shape[1] // heads
    outs = []
    for h in range(heads):
        c = slice(h * width, (h + 1) * width)
        outs.append(torch.softmax(q[:, c] @ k[:, c].T / math.sqrt(width), 1) @ v[:, c])
    return torch.cat(outs, 1)


def match_attention(q, k, heads, matches, rows, columns, null_k=None):
    """The attention of one list's query q (d) that goes to the keys a row shares something with: (rows, heads * columns).

    `matches` holds (row, key, column).
    """
    keys, width = (torch.cat([k, null_k[None]]) if null_k is not None else k), q.shape[0] // heads
    cells = [[[] for _ in range(heads * columns)] for _ in range(rows)]
    for h in range(heads):
        c = slice(h * width, (h + 1) * width)
        weights = torch.softmax(keys[:, c] @ q[c] / math.sqrt(width), 0)
        for row, key, column in matches:
            cells[row][h * columns + column].append(weights[key])
    zero = torch.zeros((), dtype=q.dtype)
    return torch.stack([torch.stack([sum(cell, zero) for cell in row]) for row in cells])


def _project(p, name, which, x):
    return x @ p[f"{name}.w{which}"].T + p[f"{name}.b{which}"]


def multi_head_attention(p, name, q, k, v, heads):
    """One list. The null slot is there when its parameters are."""
    o = attention(_project(p, name, "q", q), _project(p, name, "k", k), _project(p, name, "v", v), heads,
                  p.get(name + ".null_key"), p.get(name + ".null_value"))
    return _project(p, name, "o", o)


def match(p, name, q, k, heads, matches, rows, columns):
    """One list with one query q (d)."""
    return match_attention(_project(p, name, "q", q), _project(p, name, "k", k), heads, matches, rows, columns, p.get(name + ".null_key"))


def mean_attention(p, name, values):
    """Uniform weights over one list's values (rows, d) -> (1, d); an empty list has a mean of zeros."""
    v = _project(p, name, "v", values)
    mean = v.mean(0, keepdim=True) if len(values) else torch.zeros(1, p[name + ".wv"].shape[0], dtype=v.dtype)
    return _project(p, name, "o", mean)


def encoder_block(p, name, x, heads):
    """Pre-LN, one list."""
    a = layer_norm(p, name + ".norm1", x)
    h = a
    if name + ".points" in p:  # induced: through learnt points
        points = p[name + ".points"]
        h = layer_norm(p, name + ".point_norm", points + multi_head_attention(p, name + ".point_attention", points, a, a, heads))
    x = x + multi_head_attention(p, name + ".attention", a, h, h, heads)
    return x + feed_forward(p, name + ".ffn", layer_norm(p, name + ".norm2", x))
