"""The model in PyTorch as one would write it for speed: a whole batch at once, QKV fused, the list's share of a linear layer computed once
per list, scaled_dot_product_attention over padded lists, no Python loop over lists or rows.

`p` maps fused names (parameters.py) to tensors, `rows` is what plan.ids are places of: the big table, or the rows of it that a step needs.
"""

import math

import torch
import torch.nn.functional as F

MATCH_SCALE = 8


class Pad(torch.autograd.Function):
    """Packed rows to slots. A pad repeats some row; nothing that depends on a pad is used, so its gradient is none."""

    @staticmethod
    def forward(x, source, target):
        return x.index_select(0, source)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx, g):
        return g.index_select(0, ctx.saved_tensors[0]), None, None


class Unpad(torch.autograd.Function):
    """Slots to packed rows."""

    @staticmethod
    def forward(x, target):
        return x.index_select(0, target)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.slots = inputs[0].shape[0]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, g):
        return g.new_zeros(ctx.slots, g.shape[1]).index_copy(0, ctx.saved_tensors[0], g), None


class OneDnnLinear(torch.autograd.Function):
    """F.linear is MKL's product; this is oneDNN's, which PyTorch has for inference, forward and for the input's gradient."""

    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        ctx.bias = b is not None
        return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        flat = g.reshape(-1, g.shape[-1])
        return (torch.ops.mkldnn._linear_pointwise(g.contiguous(), w.t().contiguous(), None, "none", [], ""), flat.t() @ x.reshape(-1, x.shape[-1]),
                flat.sum(0) if ctx.bias else None)


class Model:
    """Ways to compute the same, of which the fastest is to be found:
    attention sdpa | math | mha (ONNX Runtime's own operator);  bags bag (F.embedding_bag) | padded (a table of places and weights);
    match scatter | matrix;  products mkl | onednn."""

    def __init__(self, heads, layers, attention="sdpa", bags="bag", match="scatter", products="mkl"):
        self.heads, self.layers, self.attention, self.bags, self.match = heads, layers, attention, bags, match
        self.product = F.linear if products == "mkl" else OneDnnLinear.apply
        self.sparse = False  # sparse gradients of the table

    def norm(self, p, name, x):
        return F.layer_norm(x, x.shape[-1:], p[name + ".gamma"], p[name + ".beta"], eps=1e-5)

    def linear(self, p, name, x):
        return self.product(x, p[name + ".weight"], p.get(name + ".bias"))

    def feed_forward(self, p, name, x):
        return self.linear(p, name + ".down", F.gelu(self.linear(p, name + ".up", x)))

    def embed(self, rows, index, bags):
        """The means of bags: (bags, d). index: of all ids, or a list with each bag column's own."""
        whole = torch.is_tensor(index)
        if bags.single:
            return F.embedding(index[bags.first:bags.first + bags.count] if whole else index[bags.column], rows, sparse=self.sparse)
        if self.bags == "padded":
            places = index[bags.places] if whole else index[bags.column]  # (bags, longest)
            return (F.embedding(places, rows, sparse=self.sparse) * bags.weights[:, :, None]).sum(1)
        return F.embedding_bag(index[bags.first:bags.first + bags.count], rows, bags.offsets, mode="mean", sparse=self.sparse)

    def entity(self, p, name, parts):
        return self.norm(p, name + ".norm", self.linear(p, name + ".project", torch.cat(parts, 1) if len(parts) > 1 else parts[0]))

    def entities(self, p, rows, index, plan):
        """e_q (lists, d), past queries (events, d), e_u, e_ctx (lists, d), e_i (rows, d), past items (events, d)"""
        queries = self.entity(p, "query", [self.embed(rows, index, b) for b in (plan.query_id, plan.query_terms)])
        parts = [self.embed(rows, index, b) for b in (plan.item_id, *plan.item_fields)]
        if plan.vector is not None:
            parts.append(torch.cat([plan.vector, plan.vector.new_zeros(plan.events, plan.vector.shape[1])]))
        items = self.entity(p, "item", parts)
        parts = [self.embed(rows, index, b) for b in (plan.user_id, *plan.user_fields)]
        user = self.entity(p, "user", parts + ([plan.user_dense] if plan.user_dense is not None else []))
        context = self.entity(p, "context", [self.embed(rows, index, b) for b in plan.context_fields]) if plan.context_fields else None
        return (*queries.split([plan.lists, plan.events]), user, context, *items.split([plan.rows, plan.events]))

    def slots(self, plan, x):
        """(events, c) -> (lists, heads, past, c / heads)"""
        x = x if plan.past_full else Pad.apply(x, plan.past_source, plan.past_target)
        return x.view(plan.lists, plan.past, self.heads, -1).transpose(1, 2)

    def interest(self, p, rows, index, plan, e_q, past_query, past_item):
        """QDIR: the refined interest (lists, d), and the attention that each candidate's matches get (rows, columns * heads)."""
        name, lists = "qdir.attention", plan.lists
        keys = past_query + self.embed(rows, index, plan.age) + self.embed(rows, index, plan.action)
        values = self.linear(p, "qdir.value", torch.cat([past_query, past_item], 1))
        q = self.product(e_q, p[name + ".wq"], p[name + ".bq"]).view(lists, self.heads, 1, -1)
        k, v = (self.slots(plan, self.product(x, p[f"{name}.w{w}"], p[f"{name}.b{w}"])) for x, w in ((keys, "k"), (values, "v")))
        null_k, null_v = (p[f"{name}.null_{w}"].view(self.heads, 1, -1) for w in ("key", "value"))
        scores = torch.cat([(q * k).sum(-1), (q * null_k).sum(-1)], 2) / math.sqrt(q.shape[-1])  # (lists, heads, past + 1)
        weights = torch.softmax(scores if plan.past_mask is None else scores + plan.past_mask, -1)
        o = (weights[..., None, :-1] @ v + weights[..., None, -1:] * null_v).reshape(lists, -1)
        r = self.norm(p, "qdir.norm1", e_q + self.product(o, p[name + ".wo"], p[name + ".bo"]))
        refined = self.norm(p, "qdir.norm2", r + self.feed_forward(p, "qdir.ffn", r))
        paid = weights.transpose(1, 2)  # (lists, past + 1, heads)
        if self.match == "matrix":
            matched = plan.match_matrix @ paid
        else:
            paid = paid.reshape(-1, self.heads).index_select(0, plan.match_from)
            matched = paid.new_zeros(plan.rows * plan.match_columns, self.heads).index_add(0, plan.match_to, paid)
        return refined, matched.view(plan.rows, -1)

    def attend(self, qkv, mask):
        """(lists, slots, 3d) -> (lists, slots, d)"""
        if self.attention == "mha":
            q, k, v = qkv.chunk(3, 2)
            return torch.onnx.ops.symbolic("com.microsoft::MultiHeadAttention", (q, k, v), attrs={"num_heads": self.heads}, dtype=q.dtype, shape=q.shape, version=1)
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in qkv.chunk(3, 2))
        if self.attention == "sdpa":
            o = F.scaled_dot_product_attention(q, k, v, mask)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            o = torch.softmax(scores if mask is None else scores + mask, -1) @ v
        return o.transpose(1, 2).flatten(2)

    def block(self, p, name, x, plan):
        """Pre-LN. x is (lists, slots, d) when all lists are equally long, else packed (lists + rows, d); one list is packed."""
        qkv = self.product(self.norm(p, name + ".norm1", x), p[name + ".attention.wqkv"], p[name + ".attention.bqkv"])
        if x.dim() == 3:
            a = self.attend(qkv, plan.mask)
        elif plan.lists == 1:
            a = self.attend(qkv[None], None)[0]
        else:
            slots = Pad.apply(qkv, plan.source, plan.target).view(plan.lists, 1 + plan.longest, -1)
            a = Unpad.apply(self.attend(slots, plan.mask).flatten(0, 1), plan.target)
        x = x + self.product(a, p[name + ".attention.wo"], p[name + ".attention.bo"])
        return x + self.feed_forward(p, name + ".ffn", self.norm(p, name + ".norm2", x))

    def forward(self, p, rows, index, plan):
        """Logits of click and conversion: of candidates (rows, 2), of lists (lists, 2)."""
        e_q, past_query, e_u, e_ctx, e_i, past_item = self.entities(p, rows, index, plan)
        interest, matched = self.interest(p, rows, index, plan, e_q, past_query, past_item)
        lists, d = e_q.shape

        def with_list(op, x, y):
            """Each candidate's row and its list's row."""
            if lists == 1:
                return op(x, y)
            if plan.full:
                return op(x.view(lists, plan.longest, -1), y[:, None]).flatten(0, 1)
            return op(x, y.index_select(0, plan.list_of))

        own = [e_i, with_list(torch.mul, e_i, interest)] + ([plan.known] if plan.known is not None else [])
        shared = [v for v in (e_q, e_u, e_ctx, interest) if v is not None]
        x = with_list(torch.add, self.linear(p, "join.item", torch.cat(own, 1)), self.linear(p, "join.list", torch.cat(shared, 1)))
        x = x + self.embed(rows, index, plan.position)
        token = p["ian.token"] + self.linear(p, "ian.condition", torch.cat([interest, e_q], 1))  # (lists, d)
        x = torch.cat([token[:, None], x.view(lists, -1, d)], 1) if plan.full and lists > 1 else torch.cat([token, x])
        for m in range(self.layers):
            x = self.block(p, f"encoder.{m}", x, plan)
        x = self.norm(p, "encoder.norm", x)
        h_0, h_i = (x[:, 0], x[:, 1:].reshape(-1, d)) if x.dim() == 3 else x.split([lists, plan.rows])

        up = p["head.item.up.weight"]  # (2d, 2d): the list's half of the input is multiplied once per list
        hidden = F.gelu(with_list(torch.add, F.linear(h_i, up[:, :d]), F.linear(h_0, up[:, d:], p["head.item.up.bias"])))
        items = (hidden.view(-1, 2, d) * p["head.item.down.weight"]).sum(-1) + p["head.item.down.bias"]
        if plan.known is not None:
            items = items + self.linear(p, "head.item.wide", plan.known)
        by_column = p["head.item.match.weight"].view(2, self.heads, -1).transpose(1, 2).reshape(2, -1) * MATCH_SCALE
        items = items + F.linear(matched, by_column)
        hidden = F.gelu(self.linear(p, "head.list.up", h_0)).view(lists, 2, d)
        return items, (hidden * p["head.list.down.weight"]).sum(-1) + p["head.list.down.bias"]


def product_bce(a, b, y):
    """-(y log s + (1 - y) log(1 - s)) for s = sigmoid(a) sigmoid(b), in log space."""
    log_s = F.logsigmoid(a) + F.logsigmoid(b)
    return -log_s - (1 - y) * torch.logsumexp(torch.stack([-a, -b, -a - b]), 0)


class Loss:
    """weights: click, conversion, list_click, list_conversion; list.label = any. The labels of a batch are prepared with it."""

    def __init__(self, plan, weights):
        w, self.weights = plan.labelled, weights
        sums = lambda x: x.new_zeros(plan.lists).index_add(0, plan.list_of, x)
        known = (sums(w) > 0).float()
        self.click, self.conversion = plan.click, plan.conversion
        self.any_click, self.any_conversion = (sums(w * plan.click) > 0).float(), (sums(w * plan.conversion) > 0).float()
        self.per_item, self.per_list = w / w.sum().clamp(min=1), known / known.sum().clamp(min=1)

    def __call__(self, items, lists):
        click, conversion, list_click, list_conversion = *items.unbind(1), *lists.unbind(1)
        bce = lambda a, y, w: F.binary_cross_entropy_with_logits(a, y, w, reduction="sum")
        terms = (bce(click, self.click, self.per_item), (product_bce(click, conversion, self.conversion) * self.per_item).sum(),
                 bce(list_click, self.any_click, self.per_list),
                 (product_bce(list_click, list_conversion, self.any_conversion) * self.per_list).sum())
        return sum(w * t for w, t in zip(self.weights, terms))
