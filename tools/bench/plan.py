"""What a data loader would hand to PyTorch for one batch: index vectors, masks and labels. Never part of a measured time.

`ids` has every row of the big table that the batch reads, back to back; all else refers to places in `ids`, so that a step may read them
from the whole table or from a small copy of the rows it needs.

layout packed: candidates lie back to back and are padded around the attention only. layout padded: every list has as many candidates as
the longest, and a mask says which are real.
"""

import copy

import numpy as np
import torch


def sizes_of(offsets):
    return np.diff(offsets.astype(np.int64))


def pad_candidates(batch):
    """The batch with every list as long as the longest; what is added is no one's neighbour (masked) and has no label."""
    sizes = sizes_of(batch["offsets"])
    lists, longest = len(sizes), sizes.max()
    slot = np.concatenate([l * longest + np.arange(n) for l, n in enumerate(sizes)])  # of each candidate
    out = dict(batch)
    for k, v in batch.items():
        per_candidate = k.startswith("item.fields.") or k in ("item.id", "dense", "vector", "match", "score", "rank", "click", "conversion", "labelled")
        if k.startswith("item.fields.") and k.endswith(".offsets"):
            lengths = np.ones(lists * longest, dtype=np.int64)  # a pad has the bag {row 0}
            lengths[slot] = sizes_of(v)
            out[k] = np.concatenate([[0], np.cumsum(lengths)])
            ids = np.zeros(lengths.sum(), dtype=np.int64)
            ids[np.repeat(np.isin(np.arange(lists * longest), slot), lengths)] = batch[k[:-len("offsets")] + "ids"]
            out[k[:-len("offsets")] + "ids"] = ids
        elif per_candidate and not k.startswith("item.fields.") and v.size:
            out[k] = np.zeros((lists * longest, *v.shape[1:]), dtype=v.dtype)
            out[k][slot] = v
    out["offsets"] = np.arange(lists + 1) * longest
    out["history_match.candidate"] = slot[batch["history_match.candidate"]]
    return out, torch.from_numpy(np.arange(longest)[None, :] < sizes[:, None])


class Bags:
    """Bags of ids, whose means are one row each. Bags of exactly one id need no mean."""

    def __init__(self, column, first, offsets):
        self.column, self.first, self.count = column, first, int(offsets[-1])  # ids[first .. first + count)
        self.single = bool((np.diff(offsets) == 1).all())
        self.offsets = torch.from_numpy(offsets[:-1].astype(np.int64))
        # The same as a table of places, as wide as the longest bag, and the weights that make a sum a mean.
        sizes = np.diff(offsets)
        column = np.arange(max(1, sizes.max(initial=0)))[None, :]
        real = column < sizes[:, None]
        self.places = torch.from_numpy(np.where(real, offsets[:-1, None] + column, 0) + first)                           # (rows, longest)
        self.weights = torch.from_numpy((real / np.maximum(sizes, 1)[:, None]).astype(np.float32))                       # (rows, longest)


class Ids:
    def __init__(self, start):
        self.start, self.ids, self.count, self.columns = start, [], 0, []

    def bags(self, table, *columns):
        """Bag columns one after the other, each (offsets, ids), as one."""
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([sizes_of(c[0]) for c in columns]))])
        self.ids += [c[1].astype(np.int64) + self.start[table] for c in columns]
        self.count += int(offsets[-1])
        self.columns.append(Bags(len(self.columns), self.count - int(offsets[-1]), offsets))
        return self.columns[-1]

    def rows(self, table, *columns):
        return self.bags(table, *[(np.arange(len(c) + 1), c) for c in columns])


class Plan:
    def __init__(self, batch, parameters, heads, layout="packed"):
        """batch: name -> array, named as in data::Batch; parameters: Parameters"""
        self.labels_real = None
        if layout == "padded":
            batch, self.labels_real = pad_candidates(batch)
        b, start = batch, parameters.start
        ids = Ids(start)
        bag = lambda name: (b[name + ".offsets"], b[name + ".ids"])
        fields = lambda owner: [(k, k.split(".field.")[1]) for k in start if k.startswith(owner + ".field.")]
        sizes, events = sizes_of(b["offsets"]), sizes_of(b["history_offsets"])
        self.lists, self.rows, self.events = len(sizes), int(sizes.sum()), int(events.sum())

        self.query_id = ids.rows("query.id", b["query.id"], b["history_query.id"])
        self.query_terms = ids.bags("query.term", bag("query.terms"), bag("history_query.terms"))
        self.item_id = ids.rows("item.id", b["item.id"], b["history_item.id"])
        self.item_fields = [ids.bags(k, bag("item.fields." + f), bag("history_item.fields." + f)) for k, f in fields("item")]
        self.user_id = ids.rows("user.id", b["user"])
        self.user_fields = [ids.bags(k, bag("user_fields." + f)) for k, f in fields("user")]
        self.context_fields = [ids.bags(k, bag("context_fields." + f)) for k, f in fields("context")]
        self.age = ids.rows("qdir.age", b["history_age"])
        self.action = ids.rows("qdir.action", b["history_action"])
        self.position = ids.rows("encoder.position", np.minimum(b["rank"], parameters.size["encoder.position"] - 1))
        self.ids, self.columns = torch.from_numpy(np.concatenate(ids.ids)), ids.columns

        number = lambda name: torch.from_numpy(np.array(b[name], dtype=np.float32)) if name in b and b[name].size else None
        self.user_dense, self.vector = number("user_dense"), number("vector")
        known = [x for x in (number("dense"), number("match"), number("score")) if x is not None]
        self.known = torch.cat(known, 1) if known else None                          # (rows, known columns)
        self.click, self.conversion, self.labelled = number("click"), number("conversion"), number("labelled")
        self.list_of = torch.from_numpy(np.repeat(np.arange(self.lists), sizes))     # (rows)
        self.longest = int(sizes.max())
        self.full = bool((sizes == self.longest).all())
        self.match_columns = parameters.match_width // heads
        self.plan_encoder(sizes)
        self.plan_history(b, events)

    def inputs(self, matrix):
        """What a request brings (name -> tensor); all else is structure. Ids as a column each, with `matrix` in place of match rows."""
        out = {f"ids{c.column}": self.ids[c.first:c.first + c.count] if c.single else self.ids[c.places] for c in self.columns}
        names = ["user_dense", "vector", "known"] + (["match_matrix"] if matrix else [])
        return out | {k: getattr(self, k) for k in names if getattr(self, k) is not None}

    def with_inputs(self, given):
        """The same structure around other inputs, and the ids' columns."""
        other = copy.copy(self)
        other.__dict__.update({k: v for k, v in given.items() if not k.startswith("ids")})
        return other, [given[f"ids{c.column}"] for c in self.columns]

    def plan_encoder(self, sizes):
        """Slots (lists, 1 + longest): a list's token, then its candidates. Packed rows: all tokens, then all candidates."""
        real = np.arange(self.longest)[None, :] < sizes[:, None] if self.labels_real is None else self.labels_real.numpy()
        real = np.concatenate([np.ones((self.lists, 1), dtype=bool), real], 1)
        self.mask = None if real.all() else torch.where(torch.from_numpy(real), 0.0, -torch.inf)[:, None, None, :]
        first = np.cumsum(sizes) - sizes
        slot = np.concatenate([np.arange(self.lists) * (1 + self.longest), first * 0])[:self.lists]
        slots = np.repeat(slot + 1, sizes) + np.arange(self.rows) - np.repeat(first, sizes)
        target = np.concatenate([slot, slots])                                       # slot of each packed row
        source = np.zeros(self.lists * (1 + self.longest), dtype=np.int64)           # packed row of each slot; a pad reads row 0
        source[target] = np.arange(len(target))
        self.source, self.target = torch.from_numpy(source), torch.from_numpy(target)

    def plan_history(self, b, events):
        """Slots (lists, longest history + 1): past events, then the null slot."""
        self.past = max(1, int(events.max()))
        self.past_full = bool((events == self.past).all())
        real = np.arange(self.past + 1)[None, :] < events[:, None]
        real[:, -1] = True
        self.past_mask = None if self.past_full else torch.where(torch.from_numpy(real), 0.0, -torch.inf)[:, None, :]
        first = np.cumsum(events) - events
        lists = np.repeat(np.arange(self.lists), events)
        within = np.arange(self.events) - np.repeat(first, events)
        target = lists * self.past + within                                          # slot of each event, null slots not counted
        source = np.zeros(self.lists * self.past, dtype=np.int64)
        source[target] = np.arange(self.events)
        self.past_source, self.past_target = torch.from_numpy(source), torch.from_numpy(target)
        # Match rows (candidate, event, column): the attention at `match_from` is added to cell (candidate, column).
        event, columns = b["history_match.event"].astype(np.int64), self.match_columns
        cell = b["history_match.candidate"].astype(np.int64) * columns + b["history_match.column"]
        match_from = (lists * (self.past + 1) + within)[event]
        self.match_from, self.match_to = torch.from_numpy(match_from), torch.from_numpy(cell)
        if self.full:  # the same as a matrix for each list
            self.match_matrix = torch.zeros(self.lists, self.longest * columns, self.past + 1)
            self.match_matrix.view(-1, self.past + 1)[self.match_to, self.match_from % (self.past + 1)] = 1
