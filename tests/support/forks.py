"""Real processes of the program without the seconds that each would take to import torch: they are forks of one process
that has imported everything and computed nothing.
"""

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = """
import json, os, signal, sys, traceback
import cv2, jinja2, pyarrow.parquet, torch, torchvision
import semshard.protection.protect, semshard.protection.repair, semshard.inspection.audit
from semshard_cli import show, watch
from semshard_cli.main import main

def run(program, words, out, errors, folder, environment):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv, code = ["semshard" if program is None else "-c", *words], 0
    try:
        main() if program is None else exec(program, {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
for line in sys.stdin:
    what, *about = json.loads(line)
    if what == "start":
        reply = os.fork()
        if not reply:
            run(*about)
    else:
        number, status = os.waitpid(about[0], os.WNOHANG if what == "poll" else 0)
        reply = os.waitstatus_to_exitcode(status) if number else None
    print(json.dumps(reply), flush=True)
"""


class Fork:
    """A process, with as much of `subprocess.Popen` as the tests use."""

    def __init__(self, server, pid, output, errors):
        self._server, self.pid, self.returncode = server, pid, None
        self._output, self._errors = output, errors

    def poll(self):
        """The exit code; None while it is running. Below 0: the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._server.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            ended, waiting = os.pidfd_open(self.pid), select.poll()  # select() takes no numbers above 1,023
            waiting.register(ended, select.POLLIN)
            try:
                if not waiting.poll(None if timeout is None else 1000 * timeout):
                    raise subprocess.TimeoutExpired(["semshard"], timeout)
            finally:
                os.close(ended)
            self.returncode = self._server.ask("wait", self.pid)
        return self.returncode

    def communicate(self, timeout=None):
        """What it has written to its two streams, when it has ended."""
        self.wait(timeout)
        return self._output.read_text(), self._errors.read_text()

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that is forked. Each fork has the folder and the environment that this process has when it starts."""

    def __init__(self):
        self._home, self._count = tempfile.TemporaryDirectory(), 0
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout.readline() == "ready\n"

    def start(self, *words, program=None, environment=None, log=None):
        """The program `semshard` with these words, or the Python `program` as `python -c` runs it; both streams go to
        the file `log` where one is given.
        """
        self._count += 1
        output, errors = (Path(log or Path(self._home.name) / f"{self._count}{stream}") for stream in ("out", "err"))
        for each in (output, errors):
            each.touch()
        about = [program, list(map(str, words)), str(output), str(errors), os.getcwd()]
        return Fork(
            self, self.ask("start", *about, dict(os.environ if environment is None else environment)), output, errors
        )

    def ask(self, *about):
        self._server.stdin.write(json.dumps(about) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._home.cleanup()


@functools.cache
def forks():
    """The one of this process, which ends with it."""
    found = Forks()
    atexit.register(found.close)
    return found
