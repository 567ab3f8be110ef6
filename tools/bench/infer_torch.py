"""Re-ranking in PyTorch: a module whose parameters can be frozen and exported, and what it reads of a request."""

import torch
from torch import nn


class Scorer(nn.Module):
    """Logits of the lists in `plan` from its inputs."""

    def __init__(self, parameters, model, plan):
        super().__init__()
        self.model, self.plan = model, plan
        views = parameters.views([leaf.detach() for leaf in parameters.leaves])
        self.fields = {name: name.replace(".", "_") for name in views}
        for name, value in views.items():
            self.register_parameter(self.fields[name], nn.Parameter(value, requires_grad=False))
        self.table = nn.Parameter(parameters.table, requires_grad=False)
        self.given = plan.inputs(model.match == "matrix")

    def forward(self, *values):
        plan, index = self.plan.with_inputs(dict(zip(self.given, values)))
        return self.model.forward({name: getattr(self, field) for name, field in self.fields.items()}, self.table, index, plan)


def scorer(case, **ways):
    parameters = case.parameters()
    return Scorer(parameters, case.model(bags="padded", **ways), case.plan(parameters)).eval()  # where the case is


def answering(module, options=None):
    """A function without arguments that answers the module's request. options: None for eager, else inductor's."""
    values = tuple(module.given.values())
    call = module if options is None else torch.compile(module, fullgraph=True, dynamic=False, options=options)

    def answer():
        with torch.inference_mode():
            return call(*values)

    return answer
