"""Live progress on standard error: bars in a terminal; elsewhere a line per stage, and in long stages per minute."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from semshard import Event

from .event_log import record_event

_EVERY = 60.0  # seconds between lines where standard error is not a terminal
_SHOWN = {
    "loss": "loss {:.3f}",
    "test": "clean test {:.1%}",
    "rejected": "{:.0f} rejected",
    "failures": "{:.0f} failed",
}


class Watch:
    """A progress callback for the library; use it as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}", style="dim"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._phases: dict[str, _Phase] = {}

    def __enter__(self) -> Watch:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        record_event(event)
        if event.message:
            self.console.print(Text(event.message, "dim"))
        if not event.total:
            return
        phase = self._phases.get(event.phase)
        if phase is None:
            task = self._bars.add_task(event.phase, total=event.total, unit=event.unit, rate="", figures="")
            phase = self._phases[event.phase] = _Phase(task, event.done, dict(event.figures))
        phase.figures.update(event.figures)
        rate, figures = phase.rate(event), phase.figures_line()
        self._bars.update(phase.task, completed=event.done, total=event.total, rate=rate, figures=figures)
        if not self.console.is_terminal and phase.due(event):
            parts = (f"{event.phase}: {event.done}/{event.total} {event.unit}", rate, figures, phase.left(event))
            self.console.print("  ".join(part for part in parts if part), soft_wrap=True)


class _Phase:
    """How far one phase is, how fast, and its latest figures."""

    def __init__(self, task: TaskID, first: int, figures: dict[str, float]) -> None:
        self.task, self.figures = task, figures
        self._first, self._start = first, time.monotonic()
        self._last_line, self._ended = self._start, False

    def _speed(self, event: Event) -> float:
        return (event.done - self._first) / max(time.monotonic() - self._start, 1e-9)

    def rate(self, event: Event) -> str:
        images = self._speed(event) * self.figures.get("batch", 1)
        return f"{images:,.0f} images/s" if images and (event.unit == "images" or "batch" in self.figures) else ""

    def figures_line(self) -> str:
        return "  ".join(form.format(self.figures[name]) for name, form in _SHOWN.items() if name in self.figures)

    def left(self, event: Event) -> str:
        speed = self._speed(event)
        return f"{(event.total - event.done) / speed:.0f} s left" if speed and event.done < event.total else ""

    def due(self, event: Event) -> bool:
        """Whether it is time for a line: once a minute, and once at the end."""
        ended, late = event.done >= event.total, time.monotonic() - self._last_line >= _EVERY
        due = not self._ended if ended else late
        self._ended = ended
        if due:
            self._last_line = time.monotonic()
        return due
