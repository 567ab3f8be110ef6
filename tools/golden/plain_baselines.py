"""The baselines in PyTorch, one list at a time, written from the headers of piano/baselines/. What they share with PIANO comes from plain_model."""

import torch

from plain_layers import bag_mean, encoder_block, feed_forward, layer_norm, linear, multi_head_attention
from plain_model import DTYPE, attention_shapes, encode, encode_item, encode_query, feed_forward_shapes, linear_shapes, norm_shapes, number_row

POSITIONS = ("dnn", "din", "esmm", "mmoe", "ple", "prm", "pear")   # models whose join has the initial rank
HISTORY = ("din", "prm", "mir", "pear")                  # models that read past items


def request_shapes(c, w):
    """What every model reads of a request."""
    d = c["model.d"]
    present = lambda n: n + 1 if n > 0 else 0
    out = {"query.id": (w["query"], d), "query.term": (w["term"], d), "item.id": (w["item"], d), "user.id": (w["user"], d)}
    for owner in ("item", "user", "context"):
        out |= {f"{owner}.field.{f}": (n, d) for f, n in w[owner + "_fields"].items()}
    out |= linear_shapes("query.project", 2 * d, d) | norm_shapes("query.norm", d)
    out |= linear_shapes("item.project", (1 + len(w["item_fields"])) * d + present(w["item_vector"]), d) | norm_shapes("item.norm", d)
    out |= linear_shapes("user.project", (1 + len(w["user_fields"])) * d + present(w["user_dense"]), d) | norm_shapes("user.norm", d)
    if w["context_fields"]:
        out |= linear_shapes("context.project", len(w["context_fields"]) * d, d) | norm_shapes("context.norm", d)
    return out


def known_columns(c, w):
    return (w["item_dense"] + 1 if w["item_dense"] else 0) + (w["match"] if c["model.match"] else 0) + (2 if w["score"] else 0)


def head_shapes(name, c, w, inputs, bias=True):
    known, d = known_columns(c, w), c["model.d"]
    deep = linear_shapes(name + ".up", inputs, d) | linear_shapes(name + ".down", d, 1, bias)
    return deep | (linear_shapes(name + ".wide", known, 1, bias=False) if known else {})


def experts_shapes(name, c):
    d, out = c["model.d"], {}
    for e in range(c["model.experts"]):
        out |= feed_forward_shapes(f"{name}.{e}", d, d, d)
    return out


def encoder_shapes(c, owner="encoder"):
    d, out = c["model.d"], {}
    for m in range(c["model.layers"]):
        name = f"{owner}.{m}"
        out |= norm_shapes(name + ".norm1", d) | attention_shapes(name + ".attention", d, False)
        out |= norm_shapes(name + ".norm2", d) | feed_forward_shapes(name + ".ffn", d, c["model.ffn"] * d, d)
        if c.get("encoder.attention") == "induced":
            out |= {name + ".points": (c["encoder.points"], d)} | attention_shapes(name + ".point_attention", d, False)
            out |= norm_shapes(name + ".point_norm", d)
    return out | (norm_shapes("encoder.norm", d) if owner == "encoder" else {})


def gru_shapes(name, inputs, d):
    return linear_shapes(name + ".input", inputs, 3 * d) | {name + ".hidden": (3 * d, d), name + ".bias": (d,)}


def tower_shapes(name, c):
    """(shapes, width of what comes out)"""
    out, width = {}, c["model.d"]
    for m in range(c["model.layers"]):
        out |= linear_shapes(f"{name}.{m}", width, c["model.ffn"] * c["model.d"])
        width = c["model.ffn"] * c["model.d"]
    return out, width


def shapes(c, w):
    """Name -> shape of every parameter."""
    name, d = c["model.name"], c["model.d"]
    out, added = request_shapes(c, w), 0
    heads = lambda width: head_shapes("head.click", c, w, width) | head_shapes("head.conversion", c, w, width)
    if name in HISTORY:
        out |= {"history.age": (26, d), "history.action": (w["action"], d)}
    if name in ("dnn", "din"):
        tower, width = tower_shapes("body", c)
        out |= tower | heads(width)
    if name == "din":
        out |= feed_forward_shapes("din.activation", 3 * d, d // 2, 1)
        added = d
    if name == "esmm":
        for task in ("click", "conversion"):
            tower, width = tower_shapes("tower." + task, c)
            out |= tower | head_shapes("head." + task, c, w, width)
    if name == "dlcm":
        out |= gru_shapes("dlcm.gru", d, d) | linear_shapes("dlcm.context", d, d) | linear_shapes("head.score", d, 1, bias=False)
        out |= linear_shapes("head.score.wide", known_columns(c, w), 1, bias=False) if known_columns(c, w) else {}
    if name == "prm":
        out |= linear_shapes("prm.personal", 3 * d, d)
        added = d
    if name in ("prm", "setrank"):
        out |= encoder_shapes(c) | head_shapes("head.score", c, w, d, bias=False)
    if name == "mmoe":
        out |= experts_shapes("expert", c) | heads(d)
        for task in ("click", "conversion"):
            out |= linear_shapes("gate." + task, d, c["model.experts"], bias=False)
    if name == "ple":
        out |= heads(d)
        for m in range(c["model.layers"]):
            for group in ("click", "conversion", "shared"):
                out |= experts_shapes(f"ple.{m}.{group}", c)
                if group != "shared" or m + 1 < c["model.layers"]:
                    mixed = (3 if group == "shared" else 2) * c["model.experts"]
                    out |= linear_shapes(f"ple.{m}.{group}.gate", d, mixed, bias=False)
    if name == "mir":
        out |= encoder_shapes(c) | gru_shapes("mir.gru", d, d) | heads(3 * d)
        out |= attention_shapes("mir.past_attention", d, True) | attention_shapes("mir.candidate_attention", d, False)
    if name == "pear":
        out |= encoder_shapes(c) | encoder_shapes(c, "history") | heads(d) | feed_forward_shapes("head.list_click", d, d, 1)
        out["pear.token"] = (1, d)
        for m in range(c["model.layers"]):
            out |= norm_shapes(f"pear.{m}.norm", d) | attention_shapes(f"pear.{m}.attention", d, True)
    out |= linear_shapes("join.item", d + added + known_columns(c, w), d)
    out |= linear_shapes("join.list", (2 + (len(w["context_fields"]) > 0)) * d, d, bias=False)
    if name in POSITIONS and c["encoder.position"] == "initial_rank":
        out["encoder.position"] = (c["encoder.positions"], d)
    return out


class Request:
    """A request as the models begin with it."""

    def __init__(self, p, c, w, request):
        self.p, self.c, self.w = p, c, w
        candidates = request["candidates"]
        self.n = len(candidates)
        self.query = encode_query(p, request["query"])
        user = [p["user.id"][request["user"]]] + [bag_mean(p["user.field." + f], request["user_fields"][f]) for f in w["user_fields"]]
        self.user = encode(p, "user", user + ([number_row(request["user_dense"])] if w["user_dense"] else []))
        self.context = []
        if w["context_fields"]:
            self.context = [encode(p, "context", [bag_mean(p["context.field." + f], request["context_fields"][f]) for f in w["context_fields"]])]
        self.items = torch.stack([encode_item(p, w, i["id"], i["fields"], i["vector"]) for i in candidates])
        wanted = [k for k, on in (("dense", w["item_dense"] > 0), ("match", c["model.match"] and w["match"] > 0), ("score", w["score"])) if on]
        self.known = torch.stack([torch.cat([number_row(i[k]) for k in wanted]) for i in candidates]) if wanted else None
        if c["model.name"] in HISTORY:
            past = [encode_item(p, w, e["item"], e["fields"], None) + p["history.age"][e["age"]] + p["history.action"][e["action"]]
                    for e in request["history"]]
            self.past = torch.stack(past) if past else torch.zeros(0, c["model.d"], dtype=DTYPE)

    def join(self, added=()):
        parts = [self.items, *added] + ([self.known] if self.known is not None else [])
        x = linear(self.p, "join.item", torch.cat(parts, 1)) + linear(self.p, "join.list", torch.cat([self.query, self.user, *self.context]))
        if "encoder.position" in self.p:
            x = x + torch.stack([self.p["encoder.position"][min(rank, self.c["encoder.positions"] - 1)] for rank in range(self.n)])
        return x

    def tower(self, name, x):
        for m in range(self.c["model.layers"]):
            x = torch.nn.functional.gelu(linear(self.p, f"{name}.{m}", x))
        return x

    def encoder(self, x):
        for m in range(self.c["model.layers"]):
            x = encoder_block(self.p, f"encoder.{m}", x, self.c["model.heads"])
        return layer_norm(self.p, "encoder.norm", x)

    def gru(self, name, rows):
        """PyTorch's own cell, row after row."""
        d = self.p[name + ".bias"].shape[0]
        zeros, h, states = torch.zeros(d, dtype=DTYPE), torch.zeros(1, d, dtype=DTYPE), []
        for x in rows:
            h = torch._VF.gru_cell(x[None], h, self.p[name + ".input.weight"], self.p[name + ".hidden"], self.p[name + ".input.bias"],
                                   torch.cat([zeros, zeros, self.p[name + ".bias"]]))
            states.append(h[0])
        return torch.stack(states) if states else torch.zeros(0, d, dtype=DTYPE)

    def head(self, name, h):
        logit = feed_forward(self.p, name, h)
        return (logit if self.known is None else logit + linear(self.p, name + ".wide", self.known))[:, 0]


def dnn(r):
    h = r.tower("body", r.join())
    return {"click": r.head("head.click", h), "conversion": r.head("head.conversion", h)}


def din(r):
    interests = []
    for v in r.items:
        total = torch.zeros_like(v)
        for e in r.past:
            total = total + feed_forward(r.p, "din.activation", torch.cat([e, e * v, v])) * e
        interests.append(total)
    h = r.tower("body", r.join([torch.stack(interests)]))
    return {"click": r.head("head.click", h), "conversion": r.head("head.conversion", h)}


def esmm(r):
    x = r.join()
    return {task: r.head("head." + task, r.tower("tower." + task, x)) for task in ("click", "conversion")}


def dlcm(r):
    states = r.gru("dlcm.gru", r.join().flip(0)).flip(0)  # from the lowest rank to the highest
    score = (states * torch.tanh(linear(r.p, "dlcm.context", states[0]))) @ r.p["head.score.weight"][0]
    return {"click": score if r.known is None else score + linear(r.p, "head.score.wide", r.known)[:, 0]}


def prm(r):
    past = r.past.mean(0) if len(r.past) else torch.zeros(r.c["model.d"], dtype=DTYPE)
    personal = torch.stack([torch.nn.functional.gelu(linear(r.p, "prm.personal", torch.cat([e, r.user, past]))) for e in r.items])
    return {"click": r.head("head.score", r.encoder(r.join([personal])))}


def setrank(r):
    return {"click": r.head("head.score", r.encoder(r.join()))}


def experts(r, name, x):
    return [feed_forward(r.p, f"{name}.{e}", x) for e in range(r.c["model.experts"])]


def gated(r, name, x, outputs):
    shares = torch.softmax(linear(r.p, name, x), 1)
    return sum(shares[:, e:e + 1] * out for e, out in enumerate(outputs))


def mmoe(r):
    x = r.join()
    outputs = experts(r, "expert", x)
    return {task: r.head("head." + task, gated(r, "gate." + task, x, outputs)) for task in ("click", "conversion")}


def ple(r):
    x = dict.fromkeys(("click", "conversion", "shared"), r.join())
    for m in range(r.c["model.layers"]):
        own = {group: experts(r, f"ple.{m}.{group}", x[group]) for group in x}
        mixed = {"click": own["click"] + own["shared"], "conversion": own["conversion"] + own["shared"],
                 "shared": own["click"] + own["conversion"] + own["shared"]}
        x = {group: gated(r, f"ple.{m}.{group}.gate", x[group], mixed[group]) for group in x
             if group != "shared" or m + 1 < r.c["model.layers"]}
    return {task: r.head("head." + task, x[task]) for task in ("click", "conversion")}


def mir(r):
    heads, n, d = r.c["model.heads"], r.n, r.c["model.d"]
    candidates, past = r.encoder(r.join()), r.gru("mir.gru", r.past)
    of_past = multi_head_attention(r.p, "mir.past_attention", candidates, past, past, heads)
    of_set = torch.zeros(d, dtype=DTYPE)
    if len(past):
        of_set = multi_head_attention(r.p, "mir.candidate_attention", past, candidates, candidates, heads).mean(0)
    h = torch.cat([candidates, of_past, of_set.expand(n, -1)], 1)
    return {"click": r.head("head.click", h), "conversion": r.head("head.conversion", h)}


def pear(r):
    heads, past = r.c["model.heads"], r.past
    x = torch.cat([r.p["pear.token"], r.join()])
    for m in range(r.c["model.layers"]):
        past = encoder_block(r.p, f"history.{m}", past, heads)
        x = encoder_block(r.p, f"encoder.{m}", x, heads)
        x = x + multi_head_attention(r.p, f"pear.{m}.attention", layer_norm(r.p, f"pear.{m}.norm", x), past, past, heads)
    x = layer_norm(r.p, "encoder.norm", x)
    return {"click": r.head("head.click", x[1:]), "conversion": r.head("head.conversion", x[1:]),
            "list_click": feed_forward(r.p, "head.list_click", x[0])[0]}


def forward(p, c, w, request):
    """Logits of one request, those that the model has: click (n), conversion (n), list_click ()."""
    model = {"dnn": dnn, "din": din, "esmm": esmm, "mmoe": mmoe, "ple": ple, "dlcm": dlcm, "prm": prm, "setrank": setrank, "mir": mir, "pear": pear}
    return model[c["model.name"]](Request(p, c, w, request))


def bce(logit, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.full_like(logit, y), reduction="sum")


def listwise_loss(c, batch, logits):
    """Of the models with one score a candidate: softmax cross-entropy, or the attention rank loss."""
    total, lists = torch.zeros((), dtype=DTYPE), 0
    for request, out in zip(batch, logits):
        known = [k for k, item in enumerate(request["candidates"]) if item["labelled"]]
        gain = torch.tensor([i["click"] + c["loss.lambda"] * i["conversion"] for i in request["candidates"] if i["labelled"]], dtype=DTYPE)
        if gain.sum() == 0:
            continue
        lists += 1
        share = torch.softmax(out["click"][known], 0)
        if c["model.name"] == "prm":
            total = total - (gain / gain.sum() * torch.log(share)).sum()
        elif len(gain) > 1:
            gain = torch.where(gain > 0, torch.exp(gain), gain)
            wanted = gain / gain.sum()
            total = total - (wanted * torch.log(share) + (1 - wanted) * torch.log1p(-share)).sum()
    total = total / max(lists, 1)
    return total, {"listwise": total}


def loss(c, batch, logits):
    """The terms that config `c`'s model has, from loss.* where it reads them. Returns (total, terms)."""
    if "conversion" not in logits[0]:
        return listwise_loss(c, batch, logits)
    zero = torch.zeros((), dtype=DTYPE)
    names = ("click", "conversion") + (("list_click",) if "list_click" in logits[0] else ())
    sums, counts = dict.fromkeys(names, zero), dict.fromkeys(names, 0)

    def count(name, term):
        sums[name] = sums[name] + term
        counts[name] += 1

    for request, out in zip(batch, logits):
        known = [(i, item) for i, item in enumerate(request["candidates"]) if item["labelled"]]
        for i, item in known:
            count("click", bce(out["click"][i], item["click"]))
            if c["model.name"] not in ("mmoe", "ple"):  # click-and-convert, over all items
                both = torch.sigmoid(out["click"][i]) * torch.sigmoid(out["conversion"][i])
                count("conversion", -(torch.log(both) if item["conversion"] else torch.log1p(-both)))
            elif item["click"]:
                count("conversion", bce(out["conversion"][i], item["conversion"]))
        if known and "list_click" in names:
            count("list_click", bce(out["list_click"], float(any(item["click"] for _, item in known))))
    terms = {k: v / max(counts[k], 1) for k, v in sums.items()}
    return sum(c["loss." + k] * v for k, v in terms.items()), terms
