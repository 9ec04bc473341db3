"""The checker of words finds planted ones, and nothing in ordinary text."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "words.py"
PLANTED = {
    "def train_ahead(x):\n    return x\n": "1: 'train_ahead': write train_in_parallel",
    "class Filling:\n    pass\n": "1: 'Filling': write TableRun",
    "x = 1\nvictim.named_rightly = x\n": "2: 'named_rightly': write correct_predictions",
    "x = 1  # the radius that it shall withstand\n": "1: 'shall': write should",
    "raise ValueError('x is no radius')\n": "1: 'is no radius': write is not a valid …",
    '"""One.\n\nThis wants\na GPU.\n"""\n': "3: 'wants a': write needs",
    "text = f'{n} images a training step'\n": "1: 'images a training step': write per step, per shard, …",
    "# Every victim sits an\n# examination here.\n": "2: 'examination': write test, train, measure",
}
CLEAN = '''"""There is no manifest here, and a file is no longer than it was; a person wants to see what is kept."""

def split(material, word, look):
    kept = [same for same in word if same]  # A step takes a second; two samples can be told apart.
    return f"{kept}: 40 images per second, the standing order, an example, underneath"
'''


def run(path):
    return subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_word_is_found_with_its_line(code, tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(code)
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (1, f"{path}:{PLANTED[code]}\n")


def test_names_and_phrases_are_found_in_pages(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nThe preset wants a\nGPU; see `Kept.load` and Kept.\n")
    done = run(page)
    assert done.returncode == 1
    assert done.stdout == f"{page}:3: 'wants a': write needs\n{page}:4: 'Kept': write ResultCache\n"


def test_ordinary_text_passes(tmp_path):
    (tmp_path / "clean.py").write_text(CLEAN)
    (tmp_path / "clean.md").write_text(CLEAN)
    assert (run(tmp_path).returncode, run(tmp_path).stdout) == (0, "")
