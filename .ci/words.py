"""Words that this project does not use, and what to write instead: `python .ci/words.py [PATH …]`.

Looks through the names, comments and strings of Python files, and through the text of pages and templates. Exits with 1
where one of the words is used. Names are compared whole, phrases in comments, strings and text without regard to case;
code quoted in a page counts as names.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WALKED = ("semshard", "cli", "tests", "examples", "docs", "README.md")
SUFFIXES = (".py", ".md", ".j2")
SKIPPED = {"tests/docs/test_words.py"}  # it plants such words

# Name, as a regular expression that must match all of it: what to write.
NAMES = {
    "Filling": "TableRun",
    "Examiner|Exam|Examination": "VictimTrainer",
    "Kept": "ResultCache",
    "Unfinished": "VictimCheckpoint",
    "Keeping": "Autosave",
    "Now": "Throttle",
    "teller": "progress_counter",
    "_go_on": "_resume",
    "Clock": "PhaseTimer",
    "Piece": "EncodedChunk",
    "train_ahead": "train_in_parallel",
    "Split": "VictimDataset",
    r"(\w+_)?(lesson|exam)s?(_\w+)?": "train, test",
    "Labelled": "LabelledImages",
    "Material": "VictimData",
    "Standing": "TrainingState",
    "named_rightly": "correct_predictions",
    "Look": "ValidationPoint",
    r"(\w+_)?taught(_\w+)?": "retained_share",
    "Word": "Verdict",
    "Figures": "AccuracySummary",
    "cut_every": "round_every",
    "narrowed": "bfloat16_where_exact",
    "Rest|_RESTS": "FoldedNetwork",
    "_black": "_zero_buffer",
    "exchanged": "shuffle_labels",
    "warmed": "at_warmup_step",
    "Inner": "InnerPerturbation",
    "Same": "ShapeGroup",
    "_?(Lore|TOLD)": "Annotations",
    "by_worth": "in_requested_order",
    "of_it": "the name of what it is",
    "told": "the name of what it is",
}
# Phrase in running text, ~ for the space between two words: what to write.
PHRASES = {
    r"\bwants~(?!to\b)[\w-]+|\bwant~(?:images|weights|--\w+)": "needs",
    r"(?<!there\s)\b(?:is|was)~no~(?!longer\b|more\b|less\b|better\b|worse\b|different\b)[a-z]\w*": (
        "is not a valid …"
    ),
    r"\bshall\b": "should",
    r"\b(?:images|samples|bits|levels|bytes|rows|files|pixels|times|one)~a~(?:training~)?"
    r"(?:step|shard|channel|batch|pass|sample|input|line)\b": "per step, per shard, …",
    r"\bthere~is~a~word\b|\ba~word~and~a~sentence\b": "a verdict",
    r"\btaught\b": "still learnt, retained",
    r"\blessons?\b": "training data",
    r"\bexam(?:s|ination|inations|iner|ine|ined|ines|ining)?\b": "test, train, measure",
    r"\bnetworks?~at~rest\b": "folded network",
    r"\btold\b(?!~apart)": "given, named, known",
    r"\b(?:is|was|are|what)~said\b": "is given, is written",
    r"\bgoing~on\b": "continuing, resuming",
    r"\bstands?~there\b": "is there",
    r"\btells?~of\b": "describes, names",
    r"--cut-every\b": "--round-every",
}
_NAMES = [(re.compile(pattern), instead) for pattern, instead in NAMES.items()]
_PHRASES = [
    (re.compile(pattern.replace("~", r"[\s#]+"), re.IGNORECASE), instead) for pattern, instead in PHRASES.items()
]
_TEXT = {tokenize.COMMENT, tokenize.STRING} | {
    getattr(tokenize, name) for name in ("FSTRING_MIDDLE", "TSTRING_MIDDLE") if hasattr(tokenize, name)
}

Hit = tuple[int, str, str]  # line, what stands there, what to write


def in_code(source: str) -> Iterator[Hit]:
    """The hits in a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.NAME:
            yield from _in_name(token.string, line)
        elif token.type in _TEXT:
            yield from _in_text(token.string, line)


def in_page(text: str) -> Iterator[Hit]:
    """The hits in a page or template."""
    yield from _in_text(text, 1)
    for number, line in enumerate(text.splitlines(), 1):
        for quoted in re.findall(r"`([^`]+)`", line):
            for name in re.findall(r"\w+", quoted):
                yield from _in_name(name, number)


def _in_name(name: str, line: int) -> Iterator[Hit]:
    for pattern, instead in _NAMES:
        if pattern.fullmatch(name):
            yield line, name, instead


def _in_text(text: str, first: int) -> Iterator[Hit]:
    for pattern, instead in _PHRASES:
        for match in pattern.finditer(text):
            yield first + text.count("\n", 0, match.start()), " ".join(match[0].split()), instead


def hits(path: Path) -> list[Hit]:
    text = path.read_text()
    return sorted(in_code(text) if path.suffix == ".py" else in_page(text))


def files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            skipped = each.is_relative_to(ROOT) and str(each.relative_to(ROOT)) in SKIPPED
            if each.suffix in SUFFIXES and not skipped:
                yield each


def main(*arguments: str) -> int:
    count = 0
    for path in files([Path(argument).resolve() for argument in arguments] or [ROOT / name for name in WALKED]):
        for line, text, instead in hits(path):
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"{shown}:{line}: {text!r}: write {instead}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
