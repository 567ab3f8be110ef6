"""The figures of a run, kept on disk after every part, so that a run that was stopped goes on where it was."""

import datetime
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import sys

PACKAGES = ("numpy", "torch", "onnx", "onnxscript", "onnxruntime")


def require_packages():
    missing = [p for p in PACKAGES if importlib.util.find_spec(p) is None]
    if missing:
        sys.exit(f"missing Python packages: {', '.join(missing)}; pip install -r "
                 + os.path.relpath(os.path.join(os.path.dirname(__file__), "requirements.txt")))


def versions():
    out = {"python": platform.python_version()} | {p: importlib.import_module(p).__version__ for p in PACKAGES}
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")
    return out | {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)), "system": f"{platform.system()} {platform.release()}"}


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def now():
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M")


def read(path):
    with open(path) as f:
        return json.load(f)


def write(path, value):
    """Whole or not at all."""
    with open(path + ".tmp", "w") as f:
        json.dump(value, f, indent=1)
    os.replace(path + ".tmp", path)


class Record:
    """figures: {"identity", "command", "begun", "ended", "measured": {section: {key: figures}}}; identity: what has to be the same for --resume."""

    def __init__(self, path, identity, resume):
        self.path, self.figures = path, {"identity": identity, "command": " ".join(["python3"] + [os.path.basename(a) if os.path.isabs(a) else a for a in sys.argv]), "begun": now(), "measured": {}}
        if resume and os.path.exists(path):
            earlier = read(path)
            other = [k for k in identity if earlier["identity"].get(k) != identity[k]]
            if other:
                sys.exit(f"{path} was measured with other {', '.join(other)}: take another --json, or measure again without --resume")
            self.figures = earlier

    def has(self, section, key):
        return key in self.figures["measured"].get(section, {})

    def keep(self, section, key, figures):
        self.figures["measured"].setdefault(section, {})[key] = figures
        self.figures["ended"] = now()
        if self.path:
            write(self.path, self.figures)
