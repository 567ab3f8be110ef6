"""One training step in PyTorch: forward, loss, backward, clip by the norm over dense and row gradients, AdamW.

rows copy:   the step's rows are de-duplicated and copied to a small leaf; AdamW moves them alone and they are copied back.
rows dense:  the whole table is the leaf: a dense gradient, and AdamW over every row.
rows sparse: sparse gradients and torch.optim.SparseAdam.
"""

import torch

from equality import check_gradients, check_logits

def compiled(function, options):
    """options: None for eager, else inductor's."""
    return function if options is None else torch.compile(function, fullgraph=True, dynamic=False, options=options)


class Step:
    def __init__(self, case, rows="copy", layout="packed", options=None, **ways):
        parameters = self.parameters = case.parameters()
        plan = self.plan = case.plan(parameters, layout)
        model, loss, self.rows = case.model(**ways), case.loss(plan), rows
        model.sparse = rows == "sparse"
        number = lambda key: float(case.config["train." + key])
        self.clip, hyper = number("clip"), {"lr": number("learning_rate"), "betas": (number("beta1"), number("beta2")), "eps": number("epsilon")}

        def total(leaves, table, index):
            logits = model.forward(parameters.views(leaves), table, index, plan)
            return loss(*logits), *(x.detach() for x in logits)

        self.total = compiled(total, options)
        leaves, self.hyper = parameters.leaves, hyper
        self.leaves = leaves
        groups = [{"params": [leaves[0]], "weight_decay": number("weight_decay")}, {"params": [leaves[1]], "weight_decay": 0.0}]
        self.table = parameters.table
        if rows == "copy":
            self.m, self.v, self.steps = torch.zeros_like(self.table), torch.zeros_like(self.table), self.table.new_zeros(())
            self.place, self.ordinal = torch.empty(len(self.table), dtype=torch.int64, device=self.table.device), torch.arange(len(plan.ids), device=self.table.device)
        else:
            self.table.requires_grad_()
        if rows == "dense":
            groups.append({"params": [self.table], "weight_decay": 0.0})
        self.adam = torch.optim.AdamW(groups, fused=True, **hyper)
        self.sparse_adam = torch.optim.SparseAdam([self.table], **hyper) if rows == "sparse" else None

    def touched(self):
        """The rows of this batch, each once, and the place of every id among them. O(ids), no sort: the last to write its place wins."""
        ids = self.plan.ids
        self.place[ids] = self.ordinal
        rows = ids[self.place[ids] == self.ordinal]
        self.place[rows] = self.ordinal[:len(rows)]
        return rows, self.place[ids]

    def backward(self):
        """Gradients in place; returns (loss, item logits, list logits), the leaf whose gradient has the rows, which rows (None: all)."""
        rows, index, leaf = None, self.plan.ids, self.table
        if self.rows == "copy":
            rows, index = self.touched()
            leaf = self.table.index_select(0, rows).requires_grad_()
        outputs = self.total(self.leaves, leaf, index)
        outputs[0].backward()
        return outputs, leaf, rows

    def __call__(self):
        outputs, leaf, rows = self.backward()
        if self.rows == "sparse":
            leaf.grad = leaf.grad.coalesce()
            gradients = [p.grad for p in self.leaves] + [leaf.grad._values()]
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
            torch._foreach_mul_(gradients, float((self.clip / (norm + 1e-6)).clamp(max=1)))
        else:
            torch.nn.utils.clip_grad_norm_([*self.leaves, leaf], self.clip)
        self.adam.step()
        if self.rows == "copy":
            self.move(leaf, rows)
        elif self.rows == "sparse":
            self.sparse_adam.step()
        self.forget(leaf)
        return outputs[0]

    def forget(self, leaf):
        for p in (*self.leaves, leaf):
            p.grad = None

    @torch.no_grad()
    def move(self, leaf, rows):
        """AdamW of the touched rows alone, by the kernel that torch.optim.AdamW(fused=True) calls."""
        m, v = self.m.index_select(0, rows), self.v.index_select(0, rows)
        self.steps += 1
        h = self.hyper
        torch._fused_adamw_([leaf], [leaf.grad], [m], [v], [], [self.steps], lr=h["lr"], beta1=h["betas"][0], beta2=h["betas"][1],
                            weight_decay=0.0, eps=h["eps"], amsgrad=False, maximize=False)
        for whole, part in ((self.table, leaf), (self.m, m), (self.v, v)):
            whole.index_copy_(0, rows, part)

    def check(self, case):
        """The gate, by the very function that is timed: greatest differences of logits, loss and gradients; throws Mismatch.
        The loss is made of means: copies of the lists have the same loss and the same gradients."""
        (loss, items, lists), leaf, rows = self.backward()
        g = leaf.grad.to_dense() if leaf.grad.is_sparse else leaf.grad
        table = g if rows is None else torch.zeros_like(self.table).index_copy(0, rows, g)
        real = None if self.plan.labels_real is None else self.plan.labels_real.reshape(-1).cpu()
        gaps = {"logits": check_logits(case.name, case.batch_file, items.cpu(), lists.cpu(), real, case.copies)}
        gaps |= check_gradients(case.name, case.batch_file, loss.item(), {k: v.cpu().numpy() for k, v in self.parameters.gradients(table).items()})
        self.forget(leaf)
        return gaps
