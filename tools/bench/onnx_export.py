"""Exports a case's model for one request from PyTorch to ONNX, lets ONNX Runtime optimise it once, and keeps the request's inputs beside it.

    python onnx_export.py FOLDER CASE [--attention math|mha|op] [--copies N]
"""

import argparse
import contextlib
import io
import os

import numpy as np
import torch

from case import Case
from infer_torch import scorer
from onnx_peer import onnx_file, optimise

# How the encoder's attention is written: products and a softmax, ONNX Runtime's own operator, or ONNX's (opset 23).
ATTENTION = {"math": ("math", 20), "mha": ("mha", 20), "op": ("sdpa", 23)}


def export(folder, name, attention, copies):
    """Fields with several values are tables of places, and matches a matrix: nothing but Gather and products."""
    way, opset = ATTENTION[attention]
    module = scorer(Case(folder, name, copies), attention=way, match="matrix")
    path = onnx_file(folder, name, attention, copies)
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        program = torch.onnx.export(module, tuple(module.given.values()), dynamo=True, opset_version=opset, input_names=list(module.given),
                                    output_names=["items", "lists"], verbose=False)
    program.save(path + ".raw")
    optimise(path + ".raw", path)
    os.remove(path + ".raw")
    np.savez(path + ".npz", **{k: v.numpy() for k, v in module.given.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("case")
    parser.add_argument("--attention", choices=ATTENTION, default="math")
    parser.add_argument("--copies", type=int, default=1)
    a = parser.parse_args()
    export(a.folder, a.case, a.attention, a.copies)
