"""Processes that time cases on demand: `piano bench --worker` and peer.py, in the settings asked for, bound to given CPUs."""

import json
import os
import select
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class PeerError(Exception):
    pass


class Mismatch(Exception):
    pass


def cpus(count):
    return sorted(os.sched_getaffinity(0))[:count]


class Worker:
    """A process that works only while it is asked: between answers it is stopped, or its threads might spin (OMP_WAIT_POLICY=active, thread
    pools) on the CPUs where others are timed."""

    def __init__(self, command, bound, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=env, preexec_fn=lambda: os.sched_setaffinity(0, bound))

    def ask(self, line, limit=None):
        """The answer; a worker that takes more than `limit` seconds is ended."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        if not select.select([self.process.stdout], [], [], limit)[0]:
            self.process.kill()
            raise PeerError(f"not ready within {limit:g} s")
        reply = self.process.stdout.readline()
        if not reply:
            raise PeerError(f"'{line}' had no answer; the process said: " + " | ".join(self.process.stderr.read().strip().split("\n")[-3:]))
        answer = json.loads(reply)
        if "mismatch" in answer:
            raise Mismatch(answer["mismatch"])
        self.process.send_signal(signal.SIGSTOP)
        if "error" in answer:
            raise PeerError(f"'{line}': {answer['error']}")
        return answer

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.communicate("quit\n", timeout=20)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ours(binary, folder, bound):
    return Worker([binary, "bench", "--worker", folder], bound)


class Setting:
    """How a peer runs: mode, the ways of peer.py, inductor's options, environment."""

    def __init__(self, mode, ways=None, inductor=None, env=None):
        self.mode, self.ways, self.inductor, self.env = mode, ways or {}, inductor or {}, env or {}

    def changed(self, **parts):
        merged = {k: {**getattr(self, k), **parts.get(k, {})} for k in ("ways", "inductor", "env")}
        return Setting(self.mode, **{part: {k: v for k, v in values.items() if v is not None} for part, values in merged.items()})

    def arguments(self):
        out = ["--mode", self.mode]
        for key, value in self.ways.items():
            out += ["--" + key, str(value)]
        for key, value in self.inductor.items():
            out += ["--inductor", f"{key}={json.dumps(value)}"]
        return out

    def text(self):
        parts = [f"{k}={v}" for k, v in self.ways.items()] + [f"{k}={json.dumps(v)}" for k, v in self.inductor.items()]
        return " ".join(parts + [f"{k}={v}" for k, v in self.env.items()])

    def to_json(self):
        return {"mode": self.mode, "ways": self.ways, "inductor": self.inductor, "env": self.env}

    def command(self, folder, *more):
        return [sys.executable, "-W", "ignore", os.path.join(HERE, "peer.py"), folder, *self.arguments(), *more]

    def environment(self, folder):
        return {**os.environ, "TORCHINDUCTOR_CACHE_DIR": os.path.join(os.path.abspath(folder), "inductor"), **self.env}

    def prepare(self, folder, case):
        """ONNX Runtime reads a file made once."""
        attention, copies = self.ways.get("attention", "math"), self.ways.get("copies", 1)
        if self.mode != "onnx" or os.path.exists(os.path.join(folder, f"{case}.{attention}.x{copies}.onnx")):
            return
        done = subprocess.run([sys.executable, "-W", "ignore", os.path.join(HERE, "onnx_export.py"), folder, case, "--attention", attention,
                               "--copies", str(copies)], capture_output=True, text=True)
        if done.returncode != 0:
            raise PeerError(f"{case}: export to ONNX failed: " + done.stderr.strip().split("\n")[-1])

    def start(self, folder, bound, *more):
        return Worker(self.command(folder, *more), bound, self.environment(folder))
