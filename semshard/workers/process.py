"""The main function of a worker process: it takes an order and pieces of work from its driver until there are no more.

What both say to each other is pickled, over a socket that only these two processes hold:

    driver → worker    ("order", job, order)   ("work", piece)   ("cores", count)   ("end",)
    worker → driver    ("report", message)   ("result", result)   ("error", exception, traceback)   ("end", peak bytes)

A worker whose driver is gone ends at once, whatever it is doing: nobody is left to take its results.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from ..cores import set_cores
from ..errors import RunError
from ..memory import peak_memory
from .protocol import run_alone


def main(descriptor: int, cores: int) -> None:
    """Serve the driver at the other end of a socket, with so many cores."""
    for each in (signal.SIGINT, signal.SIGTERM):  # of the terminal or the service, for all its processes
        signal.signal(each, signal.SIG_IGN)  # the driver decides
    set_cores(cores)
    driver, orders = Connection(descriptor), SimpleQueue[tuple[Any, ...]]()
    threading.Thread(target=_listen, args=(driver, orders), daemon=True).start()
    try:
        _serve(driver, orders)
        driver.send(("end", peak_memory()))
    except BaseException as error:
        with suppress(OSError):  # the driver is gone
            driver.send(("error", sendable(error), traceback.format_exc()))
    sys.stdout.flush()
    os._exit(0)  # neither the driver nor the user waits for libraries to tidy up


def _listen(driver: Connection, orders: SimpleQueue[tuple[Any, ...]]) -> None:
    """Hand on what the driver says; new cores count at once, while a piece of work is being done."""
    while True:
        try:
            kind, *rest = driver.recv()
        except (EOFError, OSError):
            os._exit(1)
        except BaseException as error:  # what was sent cannot be unpickled here
            kind, rest = "broken", [error]
        if kind == "cores":
            set_cores(*rest)
        else:
            orders.put((kind, *rest))


def _serve(driver: Connection, orders: SimpleQueue[tuple[Any, ...]]) -> None:
    job = order = None
    while True:
        match orders.get():
            case "order", job, order:
                one_thread()
            case "work", work:
                assert job is not None
                driver.send(("result", run_alone(job, order, work, lambda message: driver.send(("report", message)))))
            case "broken", error:
                raise error
            case _:
                return


def one_thread() -> None:
    """Libraries that the job has loaded would start threads of their own, one per core of the machine."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)


def sendable(error: BaseException) -> BaseException:
    """The error itself where the driver can raise it, otherwise its text."""
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301  # of this very process
    except Exception:
        same = None
    if isinstance(error, Exception) and type(same) is type(error) and str(same) == str(error):
        return error
    return RunError(f"{type(error).__name__}: {error}")
