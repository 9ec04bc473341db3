"""`--help` in groups: the options that most people need come first, then panels with a name each.

Plain text, without colours and boxes: as fast as help without groups, and the same in every terminal.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from .exits import CODES

MAIN = "Options"  # the panel of what most people need first
COMMANDS = "Commands"
# Panels after the first, in this order; one that is not listed comes after these.
ORDER = (
    MAIN, "Machines", "Assumptions", "Source", "Pictures", "Noise", "Surrogate", "Crafting", "Output", "Attackers",
    "Training", "Data", "Running in pieces", "Workers", "Computing",
)  # fmt: skip
FEW = 12  # options of a command that need no panels


def by_panel(command: Any) -> dict[str, list[Any]]:
    """The options of a command by the title of their panel, in the order in which they are shown."""
    options: dict[str, list[Any]] = {}
    shown = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    for option in shown:
        title = option.rich_help_panel if option.rich_help_panel and len(shown) > FEW else MAIN
        options.setdefault(title, []).append(option)
    known = [title for title in ORDER if title in options]
    return {title: options[title] for title in [*known, *(title for title in options if title not in ORDER)]}


def commands_by_panel(group: Any) -> dict[str, dict[str, Any]]:
    """The commands of a program by the title of their panel, then by name, in the order of registration."""
    panels: dict[str, dict[str, Any]] = {}
    for name, command in group.commands.items():
        if not command.hidden:
            panels.setdefault(command.rich_help_panel or COMMANDS, {})[name] = command
    return panels


class PanelCommand(TyperCommand):
    """A command whose help shows its options by panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [p.get_help_record(ctx) for p in self.params if p.param_type_name == "argument"]
        _section(formatter, "Arguments", [record for record in arguments if record])
        panels = by_panel(self)
        if own_help := self.get_help_option(ctx):
            panels.setdefault(MAIN, []).append(own_help)
        for title, options in panels.items():
            records = [option.get_help_record(ctx) for option in options]
            _section(formatter, title, [record for record in records if record])


class PanelGroup(TyperGroup):
    """A program whose help shows its commands by panel."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _section(formatter, "Exit codes", [(str(code), meaning) for code, meaning in CODES.items()])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        widest = max(len(name) for name in self.commands)
        for title, commands in commands_by_panel(self).items():
            rows = [(name.ljust(widest), each.get_short_help_str(formatter.width)) for name, each in commands.items()]
            _section(formatter, title, rows)


def _section(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
