"""Safetensors without a library: arrays are read when asked for, straight to where they belong. Needs numpy alone."""

import json
import os
import struct

import numpy as np

KINDS = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}


class Safetensors:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
        header.pop("__metadata__", None)
        # Kept in the order of the file: the order in which a model declares its fields.
        entries = sorted(header.items(), key=lambda e: e[1]["data_offsets"])
        self.info = {k: (e["dtype"], tuple(e["shape"]), 8 + size + e["data_offsets"][0]) for k, e in entries}

    def names(self, prefix=""):
        return [k for k in self.info if k.startswith(prefix)]

    def shape(self, name):
        return self.info[name][1]

    def read(self, name, out=None):
        dtype, shape, at = self.info[name]
        out = np.empty(shape, dtype=KINDS[dtype]) if out is None else out
        if out.shape != shape or out.dtype != KINDS[dtype] or not out.flags.c_contiguous:
            raise ValueError(f"{self.path}: {name} is {shape} {dtype}, not {out.shape} {out.dtype}")
        if out.size == 0:
            return out
        with open(self.path, "rb", buffering=0) as f:
            f.seek(at)
            if f.readinto(out.reshape(-1).view(np.uint8)) != out.nbytes:
                raise ValueError(f"{self.path}: {name} is cut short")
        return out

    def read_all(self, prefix=""):
        """Name without the prefix -> array"""
        return {k[len(prefix):]: self.read(k) for k in self.names(prefix) if self.info[k][0] in KINDS}


def case_file(folder, name, what):
    return os.path.join(folder, f"{name}.{what}.safetensors")


def case_info(folder, name):
    with open(os.path.join(folder, "cases.json")) as f:
        for case in json.load(f):
            if case["name"] == name:
                return case
    raise ValueError(f"no case '{name}' in {folder}")
