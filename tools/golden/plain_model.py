"""The whole model and its loss in PyTorch, one list at a time, written from the model's description.

A batch is a list of requests, each a dict of plain Python values; parameters are a dict by their C++ names.
"""

import math

import torch
import torch.nn.functional as F

from plain_layers import attention, bag_mean, encoder_block, feed_forward, layer_norm, linear, match, match_attention, mean_attention, multi_head_attention

DTYPE = torch.float64


def number_row(values):
    return torch.tensor(values, dtype=DTYPE)


def attention_shapes(name, d, null_slot):
    shapes = {f"{name}.w{k}": (d, d) for k in "qkvo"} | {f"{name}.b{k}": (d,) for k in "qkvo"}
    return shapes | ({f"{name}.null_key": (d,), f"{name}.null_value": (d,)} if null_slot else {})


def linear_shapes(name, inputs, outputs, bias=True):
    return {name + ".weight": (outputs, inputs)} | ({name + ".bias": (outputs,)} if bias else {})


def norm_shapes(name, d):
    return {name + ".gamma": (d,), name + ".beta": (d,)}


def feed_forward_shapes(name, inputs, hidden, outputs):
    return linear_shapes(name + ".up", inputs, hidden) | linear_shapes(name + ".down", hidden, outputs)


def match_heads(c):
    """How many weightings of the past each candidate's matches are counted with."""
    if c["qdir.mode"] == "off" or not c["qdir.match"]:
        return 0
    return 1 if c["qdir.mode"] == "mean" else c["model.heads"]


def shapes(c, w):
    """Name -> shape of every parameter, for a config `c` and a world `w` (table sizes and widths of the data)."""
    d, ffn = c["model.d"], c["model.ffn"] * c["model.d"]
    interest, past = c["qdir.mode"] != "off", c["qdir.mode"] in ("attend", "item_only")
    value = "item" if c["qdir.mode"] == "item_only" else c["qdir.value"]
    out = {"query.id": (w["query"], d), "query.term": (w["term"], d), "item.id": (w["item"], d), "user.id": (w["user"], d)}
    for owner in ("item", "user", "context"):
        out |= {f"{owner}.field.{f}": (n, d) for f, n in w[owner + "_fields"].items()}
    out |= linear_shapes("query.project", 2 * d, d) | norm_shapes("query.norm", d)
    present = lambda n: n + 1 if n > 0 else 0
    out |= linear_shapes("item.project", (1 + len(w["item_fields"])) * d + present(w["item_vector"]), d) | norm_shapes("item.norm", d)
    out |= linear_shapes("user.project", (1 + len(w["user_fields"])) * d + present(w["user_dense"]), d) | norm_shapes("user.norm", d)
    context = len(w["context_fields"]) > 0
    if context:
        out |= linear_shapes("context.project", len(w["context_fields"]) * d, d) | norm_shapes("context.norm", d)
    if interest:
        if past:
            out |= {"qdir.age": (26, d), "qdir.action": (w["action"], d)}
        if c["qdir.query"] == "query+user":
            out |= linear_shapes("qdir.query", 2 * d, d)
        if value == "both":
            out |= linear_shapes("qdir.value", 2 * d, d)
        out |= attention_shapes("qdir.attention", d, past and c["qdir.null_slot"])
        out |= norm_shapes("qdir.norm1", d) | feed_forward_shapes("qdir.ffn", d, ffn, d) | norm_shapes("qdir.norm2", d)
    numbers = present(w["item_dense"]) + (w["match"] if c["model.match"] else 0) + (2 if w["score"] else 0)
    out |= linear_shapes("join.item", (2 if interest else 1) * d + numbers, d)
    out |= linear_shapes("join.list", (2 + context + interest) * d, d, bias=False)
    if c["encoder.position"] != "none":  # displayed: row 0 is "not shown"
        out["encoder.position"] = (c["encoder.positions"] + (c["encoder.position"] == "displayed"), d)
    if c["ian.pool"] == "token":
        out["ian.token"] = (1, d)
        if c["ian.condition"]:
            out |= linear_shapes("ian.condition", (2 if interest else 1) * d, d, bias=False)
    elif c["ian.pool"] == "attention":
        out["ian.pool.token"] = (1, d)
    for m in range(c["model.layers"]):
        name = f"encoder.{m}"
        out |= norm_shapes(name + ".norm1", d) | attention_shapes(name + ".attention", d, False)
        out |= norm_shapes(name + ".norm2", d) | feed_forward_shapes(name + ".ffn", d, ffn, d)
    out |= norm_shapes("encoder.norm", d)
    matched = match_heads(c) * (1 + w["match_fields"])
    seen = 2 * d if c["ian.feedback"] else d
    heads = [("click", seen)] + [("conversion" + k, seen) for k in kinds(w)] + [("list_click", d)] + [("list_conversion" + k, d) for k in kinds(w)]
    for head, width in heads:
        out |= feed_forward_shapes("head." + head, width, d, 1)
        if not head.startswith("list"):
            out |= linear_shapes(f"head.{head}.wide", numbers, 1, bias=False) if numbers else {}
            out |= linear_shapes(f"head.{head}.match", matched, 1, bias=False) if matched else {}
    if c.get("loss.weighting") == "uncertainty":
        terms = ("click", "conversion", "list_click", "list_conversion", "listwise")
        out |= {f"loss.log_variance.{k}": (1, 1) for k in terms if c["loss." + k] > 0}
    return out


def encode(p, name, parts):
    return layer_norm(p, name + ".norm", linear(p, name + ".project", torch.cat(parts)))


def encode_query(p, query):
    """query = (id, [term ids])"""
    return encode(p, "query", [p["query.id"][query[0]], bag_mean(p["query.term"], query[1])])


def encode_item(p, w, item_id, fields, vector):
    """`vector` holds its "present" column; past items have none, which reads as absent."""
    parts = [p["item.id"][item_id]] + [bag_mean(p["item.field." + f], fields[f]) for f in w["item_fields"]]
    if w["item_vector"] > 0:
        parts.append(number_row(vector if vector is not None else [0.0] * (w["item_vector"] + 1)))
    return encode(p, "item", parts)


def refine(p, c, w, e_q, e_u, request):
    """QDIR for one request: the refined interest (d) and the matches of each candidate (n, columns); None where they are off."""
    mode, history, n = c["qdir.mode"], request["history"], len(request["candidates"])
    if mode == "off":
        return None, None
    value = "item" if mode == "item_only" else c["qdir.value"]
    g = linear(p, "qdir.query", torch.cat([e_q, e_u])) if c["qdir.query"] == "query+user" else e_q
    keys, values = [], []
    for event in history:
        past_query = encode_query(p, event["query"])
        past_item = encode_item(p, w, event["item"], event["fields"], None)
        if mode != "mean":
            what = past_item if mode == "item_only" else past_query
            keys.append(what + p["qdir.age"][event["age"]] + p["qdir.action"][event["action"]])
        values.append({"query": past_query, "item": past_item}[value] if value != "both"
                      else linear(p, "qdir.value", torch.cat([past_query, past_item])))
    stack = lambda rows: torch.stack(rows) if rows else torch.zeros(0, c["model.d"], dtype=DTYPE)
    columns = 1 + w["match_fields"]
    if mode == "mean":
        o = mean_attention(p, "qdir.attention", stack(values))[0]
        equal = torch.zeros(len(history), 1, dtype=DTYPE)
        m = match_attention(torch.zeros(1, dtype=DTYPE), equal, 1, request["matches"], n, columns)
    else:
        o = multi_head_attention(p, "qdir.attention", g[None], stack(keys), stack(values), c["model.heads"])[0]
        m = match(p, "qdir.attention", g, stack(keys), c["model.heads"], request["matches"], n, columns)
    r = layer_norm(p, "qdir.norm1", g + o)
    return layer_norm(p, "qdir.norm2", r + feed_forward(p, "qdir.ffn", r)), 8 * m if c["qdir.match"] else None


def forward(p, c, w, request):
    """Logits of one request: click (n), conversion (n), list_click (), list_conversion ()."""
    e_q = encode_query(p, request["query"])
    parts = [p["user.id"][request["user"]]] + [bag_mean(p["user.field." + f], request["user_fields"][f]) for f in w["user_fields"]]
    e_u = encode(p, "user", parts + ([number_row(request["user_dense"])] if w["user_dense"] > 0 else []))
    e_ctx = None
    if w["context_fields"]:
        e_ctx = encode(p, "context", [bag_mean(p["context.field." + f], request["context_fields"][f]) for f in w["context_fields"]])
    interest, matched = refine(p, c, w, e_q, e_u, request)

    rows, wide = [], []
    for rank, item in enumerate(request["candidates"]):
        e_i = encode_item(p, w, item["id"], item["fields"], item["vector"])
        own = [e_i] + ([e_i * interest] if interest is not None else [])
        known = [number_row(item[k]) for k, wanted in (("dense", w["item_dense"] > 0), ("match", c["model.match"] and w["match"] > 0),
                                                        ("score", w["score"])) if wanted]
        own, wide = own + known, wide + ([torch.cat(known)] if known else [])
        shared = [v for v in (e_q, e_u, e_ctx, interest) if v is not None]
        x = linear(p, "join.item", torch.cat(own)) + linear(p, "join.list", torch.cat(shared))
        if c["encoder.position"] == "initial_rank":
            x = x + p["encoder.position"][min(rank, c["encoder.positions"] - 1)]
        elif c["encoder.position"] == "displayed":
            x = x + p["encoder.position"][min(item["position"], c["encoder.positions"])]
        rows.append(x)

    if c["ian.pool"] == "token":
        token = p["ian.token"][0]
        if c["ian.condition"]:
            token = token + linear(p, "ian.condition", torch.cat([e_q] if interest is None else [interest, e_q]))
        rows = [token] + rows
    h = torch.stack(rows)
    for m in range(c["model.layers"]):
        h = encoder_block(p, f"encoder.{m}", h, c["model.heads"])
    h = layer_norm(p, "encoder.norm", h)
    if c["ian.pool"] == "token":
        h_0, h_i = h[0], h[1:]
    else:
        h_i = h
        h_0 = h.mean(0) if c["ian.pool"] == "mean" else attention(p["ian.pool.token"], h, h, 1)[0]

    seen = torch.cat([h_i, h_0.expand(len(h_i), -1)], 1) if c["ian.feedback"] else h_i

    def item_head(name):
        logits = feed_forward(p, name, seen)[:, 0]
        if wide:
            logits = logits + linear(p, name + ".wide", torch.stack(wide))[:, 0]
        return logits if matched is None else logits + linear(p, name + ".match", matched)[:, 0]

    out = {"click": item_head("head.click"), "list_click": feed_forward(p, "head.list_click", h_0)[0]}
    for kind in kinds(w):
        out |= {"conversion" + kind: item_head("head.conversion" + kind),
                "list_conversion" + kind: feed_forward(p, "head.list_conversion" + kind, h_0)[0]}
    return out


def bce(p, y):
    return -(y * torch.log(p) + (1 - y) * torch.log1p(-p))


def lambda_loss(scores, gains):
    """NDCG-Loss2 with linear gain: every pair, weighted by the difference of discounts as far apart as the pair's ranks."""
    discount = lambda rank: 1 / math.log2(1 + rank)
    most = sum(g * discount(k + 1) for k, g in enumerate(sorted(gains, reverse=True)))
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    rank = {i: k for k, i in enumerate(order)}
    total = torch.zeros((), dtype=DTYPE)
    for i, better in enumerate(gains):
        for j, worse in enumerate(gains):
            if better > worse:
                apart = abs(rank[i] - rank[j])
                weight = (better - worse) / most * abs(discount(apart) - discount(apart + 1))
                total = total + weight * F.softplus(scores[j] - scores[i]) / math.log(2)
    return total


def kinds(w):
    """What is added to the names of each kind of conversion's parameters."""
    return [""] + [f".{k}" for k in range(1, w.get("kinds", 1))]


def loss(c, batch, logits):
    """Item terms are means over the labelled candidates of the batch, list terms over the lists that have one; of a kind of conversion, where it is
    known. Returns (total, terms)."""
    suffixes = [k.removeprefix("conversion") for k in logits[0] if k.startswith("conversion")]
    names = ["click"] + ["conversion" + k for k in suffixes] + ["list_click"] + ["list_conversion" + k for k in suffixes] + ["listwise"]
    sums, counts = {k: torch.zeros((), dtype=DTYPE) for k in names}, dict.fromkeys(names, 0)
    weights = [float(v) for v in c.get("rank.conversion_weights", "1").split()]

    def add(name, value):
        sums[name] = sums[name] + value
        counts[name] += 1

    for request, out in zip(batch, logits):
        known = [i for i, item in enumerate(request["candidates"]) if item["labelled"]]
        y = [request["candidates"][i]["click"] for i in known]
        several = lambda x: x if isinstance(x, list) else [x]
        z = [several(request["candidates"][i]["conversion"]) for i in known]  # of each kind, None where it is not known
        pctr, pcvr = torch.sigmoid(out["click"]), [torch.sigmoid(out["conversion" + k]) for k in suffixes]
        for i, yi, zi in zip(known, y, z):
            add("click", bce(pctr[i], yi))
            for k, suffix in enumerate(suffixes):
                if zi[k] is not None:
                    add("conversion" + suffix, bce(pctr[i] * pcvr[k][i], zi[k]))
        if not known:
            continue

        label = c["list.label"]
        def list_label(labels):
            return {"count": sum(labels), "any": float(sum(labels) > 0), "fraction": sum(labels) / len(labels)}[label]

        def list_term(name, labels, p):
            if label != "count":
                return add(name, bce(p, list_label(labels)))
            rate = F.softplus(out[name], threshold=1000)
            add(name, rate - list_label(labels) * torch.log(rate))

        p_ctr = torch.sigmoid(out["list_click"])
        list_term("list_click", y, p_ctr)
        for k, suffix in enumerate(suffixes):
            if all(zi[k] is not None for zi in z):
                list_term("list_conversion" + suffix, [zi[k] for zi in z], p_ctr * torch.sigmoid(out["list_conversion" + suffix]))

        worth = lambda i, k: max(request["candidates"][i]["value"][k], 0) if c.get("loss.listwise_value") else 1.0
        gains = {i: yi + c["loss.lambda"] * sum(weights[k] * worth(i, k) * (zi[k] or 0) for k in range(len(suffixes)))
                 for i, yi, zi in zip(known, y, z)}
        if sum(gains.values()) > 0:
            scores = (torch.log(pctr) + torch.log(sum(w * p for w, p in zip(weights, pcvr))))[known]
            if c.get("loss.listwise_kind") == "lambda":
                add("listwise", lambda_loss(scores, list(gains.values())))
                continue
            shares = torch.tensor(list(gains.values()), dtype=DTYPE) / sum(gains.values())
            add("listwise", -(shares * torch.log_softmax(scores, 0)).sum())
    terms = {k: v / max(counts[k], 1) for k, v in sums.items()}
    return sum(c["loss." + k.split(".")[0]] * v for k, v in terms.items()), terms
