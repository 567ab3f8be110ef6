"""The gate before any timing: the peer's outputs and gradients against ours. Differences are relative, by the norm. Needs numpy alone."""

import numpy as np

TOLERANCE = 1e-4
# What is zero in exact arithmetic (the gradient of a key's bias: softmax does not see it) is rounding noise on both sides. A gradient
# smaller than this share of the norm over all gradients is compared against that share.
FLOOR = 1e-4
LOGITS = ("click", "conversion", "list_click", "list_conversion")


class Mismatch(Exception):
    pass


def difference(ours, peer, floor=0.0):
    ours, peer = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (ours, peer))
    if ours.shape != peer.shape:
        return float("inf")
    gap = float(np.linalg.norm(ours - peer) / max(np.linalg.norm(ours), floor, 1e-30))
    return gap if np.isfinite(gap) else float("inf")


def require(case, pairs, floor=0.0):
    """pairs: what -> (ours, the peer's). Returns the greatest difference; throws Mismatch when it is too great."""
    gaps = {what: difference(*pair, floor) for what, pair in pairs.items()}
    worst = max(gaps, key=gaps.get)
    if not gaps[worst] <= TOLERANCE:
        raise Mismatch(f"{case}: {worst} differs from ours by {gaps[worst]:.2e} of its norm, more than {TOLERANCE:g}: nothing is timed")
    return gaps[worst]


def check_logits(case, batch_file, items, lists, real=None, copies=1):
    """items (rows, 2), lists (lists, 2); real: which rows are true candidates, when some are pads."""
    items, lists = np.asarray(items), np.asarray(lists)
    peer = (*items[slice(None) if real is None else real].T, *lists.T)
    return require(case, {f"logits.{k}": (np.tile(batch_file.read(f"logits.{k}"), copies), x) for k, x in zip(LOGITS, peer)})


def check_gradients(case, batch_file, loss, gradients):
    ours = batch_file.read_all("grad.")
    if set(ours) != set(gradients):
        raise Mismatch(f"{case}: not the same parameters: {sorted(set(ours) ^ set(gradients))}")
    whole = np.sqrt(sum(np.linalg.norm(g.astype(np.float64)) ** 2 for g in ours.values()))
    return {"loss": require(case, {"loss": (batch_file.read("loss"), [loss])}),
            "gradients": require(case, {f"grad.{k}": (g, gradients[k]) for k, g in ours.items()}, FLOOR * whole)}
