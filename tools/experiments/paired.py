#!/usr/bin/env python3
"""Paired comparison over users of what `piano evaluate --per-list` wrote.

    paired.py METRIC FILE...               systems of the same files: PIANO against each heuristic; one file a seed
    paired.py METRIC FILE... --vs FILE...  PIANO of the first files (one a seed) minus PIANO of the others

    .. --users known|unseen DATA           only lists of users with, without a training request in this packed file

Seeds are averaged per list first; then users are drawn with replacement, 2,000 times, and bring all their lists along.
Needs numpy; without it says so and exits 77.
"""
import csv
import json
import struct
import sys
from collections import defaultdict

try:
    import numpy as np
except ImportError:
    print("paired.py: numpy is not installed; nothing was compared")
    sys.exit(77)


def refuse(code, message):
    """One line and an exit code, as piano's own: 2 usage, 3 data, 6 a file that cannot be read."""
    print(f"paired.py: {message}", file=sys.stderr)
    sys.exit(code)


def training_users(path):
    """Names of the users with a training request in a packed file (safetensors: docs of its tensors in data/README.md)."""
    with open(path, "rb") as file:
        try:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            header["dict.user.text"]
        except (ValueError, KeyError, struct.error, OverflowError, MemoryError):
            refuse(3, f"{path}: not a packed file of piano prepare")
        begin = file.tell()

        def tensor(name, kind):
            first, last = header[name]["data_offsets"]
            file.seek(begin + first)
            return np.frombuffer(file.read(last - first), kind)

        user, split = tensor("request.user", "<i4"), tensor("request.split", "u1")
        text, offsets = tensor("dict.user.text", "u1").tobytes(), tensor("dict.user.offsets", "<i8")
    return {text[offsets[u]:offsets[u + 1]].decode() for u in set(user[(split == 0) & (user >= 0)].tolist())}


def read(paths, metric):
    """{system: {request: [value per seed]}}, {request: user}"""
    values, users = defaultdict(lambda: defaultdict(list)), {}
    for path in paths:
        with open(path, newline="", errors="replace") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if not {"request", "user", "system"} <= set(rows.fieldnames or []):
                refuse(3, f"{path}: not a file of piano evaluate --per-list")
            if metric not in rows.fieldnames:
                refuse(2, f"{path}: no metric '{metric}', expected one of: {', '.join(rows.fieldnames[3:])}")
            for row in rows:
                if row[metric] == "":
                    continue
                values[row["system"]][row["request"]].append(float(row[metric]))
                users[row["request"]] = row["user"] or row["request"]
    return values, users


def interval(difference, users, requests, draws=2000):
    index = {u: i for i, u in enumerate(sorted({users[r] for r in requests}))}
    sums, counts = np.zeros(len(index)), np.zeros(len(index))
    for d, r in zip(difference, requests):
        sums[index[users[r]]] += d
        counts[index[users[r]]] += 1
    random = np.random.default_rng(1)
    means = []
    for _ in range(draws):
        chosen = random.integers(0, len(index), len(index))
        means.append(sums[chosen].sum() / counts[chosen].sum())
    return np.percentile(means, [2.5, 97.5])


def compare(name, a, b, users):
    requests = sorted(r for r in a.keys() & b.keys() if r in users)
    if not requests:
        refuse(3, f"{name}: no list is in both")
    difference = np.array([np.mean(a[r]) - np.mean(b[r]) for r in requests])
    low, high = interval(difference, users, requests)
    print(f"{name:42s} {difference.mean():+.4f}  [{low:+.4f}, {high:+.4f}]  {len(requests)} lists, {len({users[r] for r in requests})} users")


def main():
    if len(sys.argv) < 3:
        refuse(2, "expected METRIC FILE...; see the head of this file")
    metric, arguments, wanted = sys.argv[1], sys.argv[2:], lambda user: True
    if "--users" in arguments:
        at = arguments.index("--users")
        if arguments[at + 1:at + 2] not in (["known"], ["unseen"]) or len(arguments) < at + 3:
            refuse(2, "--users: expected known|unseen DATA")
        known, is_known = training_users(arguments[at + 2]), arguments[at + 1] == "known"
        arguments, wanted = arguments[:at] + arguments[at + 3:], lambda user: (user in known) == is_known
    cut = arguments.index("--vs") if "--vs" in arguments else len(arguments)
    values, users = read(arguments[:cut], metric)
    if "PIANO" not in values:
        refuse(3, "no list of a system called PIANO has the metric")
    users = {request: user for request, user in users.items() if wanted(user)}
    for system, lists in values.items():
        lists = {request: v for request, v in lists.items() if request in users}
        if len({len(v) for v in lists.values()}) != 1:
            refuse(3, f"{system}: expected the same lists in each file, and at least one")
        seeds = len(next(iter(lists.values())))
        by_seed = [np.mean([v[s] for v in lists.values()]) for s in range(seeds)]
        print(f"{metric}: {system:28s} {np.mean(by_seed):.4f}   by seed " + " ".join(f"{x:.4f}" for x in by_seed))
    if cut < len(arguments):
        others, _ = read(arguments[cut + 1:], metric)
        if "PIANO" not in others:
            refuse(3, "no system is called PIANO in the files after --vs")
        compare("PIANO - PIANO of the other files", values["PIANO"], others["PIANO"], users)
        return
    for system in values:
        if system != "PIANO":
            compare(f"PIANO - {system}", values["PIANO"], values[system], users)


try:
    main()
except OSError as error:
    refuse(6, f"{error.filename}: {error.strerror}")
