"""Many short runs of the program as real processes, without the seconds that each would take to import torch: they are
forks of one process that has imported everything and computed nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

SERVER = """
import json, os, signal, sys, traceback
import cv2, jinja2, pyarrow.parquet, torch
import semshard.protection.protect, semshard.protection.repair
from semshard_cli import show, watch
from semshard_cli.main import main

def run(words, log):
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.argv, code = ["semshard", *words], 0
    try:
        main()
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


class Forks:
    """A context manager in which programs are started by their words; each is known by its process number."""

    def __init__(self, log: Path) -> None:
        self.log = log  # what all of them write

    def __enter__(self):
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def start(self, *words):
        return self._ask("start", list(map(str, words)), str(self.log))

    def poll(self, process):
        """The exit code of a process, once; None while it is running. Below 0: the signal that ended it."""
        return self._ask("poll", process)

    def wait(self, process):
        return self._ask("wait", process)

    def _ask(self, *about):
        self._server.stdin.write(json.dumps(about) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
