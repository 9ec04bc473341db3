"""A program that keeps one core busy on command, as other programs on a machine do.

It reads "go" and "stop" line by line, and answers each "stop" with the number of pieces of work that it did. It ends
with its standard input, so also where its starter is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

LOOP = 100_000  # turns of a piece of work
BATCH, SIDE = 64, 32  # of the training: images, pixels a side


def main(kind: str) -> None:
    """Serve the starter with the work of one of `KINDS`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, for all its processes: the starter decides
    work, orders, stop = KINDS[kind](), SimpleQueue[str](), threading.Event()
    work()
    threading.Thread(target=_listen, args=(orders, stop), daemon=True).start()
    _say("ready")
    while orders.get():
        count = 0
        while not count or not stop.is_set():
            work()
            count += 1
        _say(str(count))


def _listen(orders: SimpleQueue[str], stop: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "go":
            stop.clear()
            orders.put(line)
        else:
            stop.set()
    os._exit(0)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _loop() -> Callable[[], None]:
    def work() -> None:
        for _ in range(LOOP):
            pass

    return work


def _training() -> Callable[[], None]:
    """Steps of a small convolutional network, in float32 and in one thread."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(1)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * (SIDE // 4) ** 2, 10),
    )  # fmt: skip
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.rand(BATCH, 3, SIDE, SIDE), torch.arange(BATCH) % 10

    def work() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return work


KINDS = {"busy Python loop": _loop, "single-threaded training": _training}
