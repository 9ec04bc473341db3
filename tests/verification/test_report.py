"""The report of a verification: a page that opens anywhere, loads nothing from a network and survives hostile names."""

import copy
import html
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from semshard.verification.figures import amplified, curves_svg, histogram_svg, shade
from semshard.verification.report import Picture, heat, per_class, stop_table, write_report

CLASSES = ["<script>alert(1)</script>", 'cat & "dog"', "price_$x_1$", "猫 кот ネコ", "قطة", "empty"]
BROWSERS = "chromium", "google-chrome", "chromium-browser"
BROWSER = os.environ.get("SEMSHARD_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), "none")
no_browser = pytest.mark.skipif(BROWSER == "none", reason="needs Chromium or Chrome (SEMSHARD_TEST_BROWSER, or PATH)")
PROBE = """<script>
  const seen = {errors: [], blocked: [], slides: []};
  addEventListener("error", event => seen.errors.push(String(event.message || event.target.tagName)), true);
  addEventListener("securitypolicyviolation", event => seen.blocked.push(event.blockedURI));
  addEventListener("load", () => {
    for (const slide of document.querySelectorAll(".slide")) {
      const input = slide.querySelector("input"), over = slide.querySelector(".stack img + img"), clips = [];
      for (const value of [0, 30, 100]) {
        input.value = value;
        input.dispatchEvent(new Event("input"));
        clips.push(getComputedStyle(over).clipPath);
      }
      seen.slides.push({clips, hidden: slide.hidden});
    }
    seen.widths = [...document.images].map(image => image.naturalWidth);
    seen.requests = performance.getEntriesByType("resource").map(entry => entry.name);
    seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    const note = document.createElement("pre");
    note.id = "seen";
    note.textContent = JSON.stringify(seen);
    document.body.append(note);
  });
</script>"""


def make_figure(best, stops=False, under_pgd=None):
    """A FIG of report.json: two seeds, the last class without a test image."""
    steps = [40, 80, 120, 160]
    seeds = [
        {
            "seed": seed,
            "final": best - 0.02,
            "best": best,
            "train": 0.97,
            "seconds": 30.5 + seed,
            "per_class": [min(1.0, best + 0.03 * number) for number in range(5)] + [None],
            "curve": [{"step": s, "test": best * s / 160 - 0.01 * seed, "train": s / 160} for s in steps],
            "stops": [
                {"patience": patience, "clean_share": share, "step": 40 + 20 * seed, "test": best - share - seed / 100}
                for patience in (1000, 3000)
                for share in (0.0, 0.1)
            ]
            if stops
            else [],
        }
        for seed in (0, 1)
    ]
    around = {"final_interval": [best - 0.04, best], "best_interval": [best - 0.02, best + 0.02]}
    return {"final": best - 0.02, "best": best, "train": 0.97, "under_pgd": under_pgd, "seeds": seeds, **around}


def make_attacker(number, rho, countermeasure, fraction, verdict):
    stops = countermeasure == "early-stop"
    shards = make_figure(0.3 + number / 100, stops)
    data = {
        "clean": make_figure(0.9, under_pgd=None if rho == "0/255" else 0.123),
        "protected": shards,
        "control": make_figure(0.85),
    }
    if fraction < 1:
        data["rest"] = make_figure(0.6)
    return {
        "name": f"small, {countermeasure}, {fraction:.0%} protected, at {rho}",
        "network": "small",
        "start": "scratch",
        "rho_a": rho,
        "countermeasure": countermeasure,
        "protected_fraction": fraction,
        "longer": 1 + 3 * (number == 1),
        "verdict": verdict,
        "retained_share": None if verdict == "cannot tell" else 0.31,
        "share_interval": None if verdict == "cannot tell" else [0.27, 0.335],
        "still_rises": number == 2,
        "collapsed": [],
        "sentence": "A plain sentence with <b> & $.",
        "data": data,
    }


def make_about():
    grid = [(c, f, rho) for c in ("none", "grey", "early-stop") for f in (1.0, 0.5) for rho in ("0/255", "2/255")]
    verdicts = ["protects", "weakens", "does not protect", "borderline", "cannot tell"]
    attackers = [make_attacker(n, rho, c, f, verdicts[n % 5]) for n, (c, f, rho) in enumerate(grid)]
    random = np.random.default_rng(0)
    return {
        "schema_version": 7,
        "tool": {"name": "semshard", "version": "0.1.0"},
        "finished": "2026-11-22T17:40:00Z",
        "seconds": 1234.5,
        "manifest_sha256": "5e" * 32,
        "settings": {"network": "small", "steps": 160, "rho_a": ["0/255", "2/255"], "lr": 0.1, "milestones": []},
        "hardware": {"device": "x86_64", "threads": 2, "torch": "2.15.0"},
        "samples": {"train": 8498, "test": 1502},
        "classes": CLASSES,
        "chance": 1 / 6,
        "majority": 0.31,
        "rule": "The verdict follows from the retained share.",
        "verdict": {
            "attacker": attackers[-1]["name"],
            "verdict": "weakens",
            "sentence": "The strongest gets <it>.",
            "theory": "Theory says <this>.",
        },
        "attackers": attackers,
        "not_tried": ["countermeasures: mixup & cutout", "victims: vit"],
        "noise": {
            "linf": {"values": [8] * 50},
            "psnr": {"values": [*random.normal(34, 1, 49).tolist(), None]},
            "ssim": {"values": random.uniform(0.9, 1, 50).tolist()},
        },
        "remainder": {
            "radius": 4,
            "samples": 50,
            "share": {"none": 0.75, "grey": 0.125, "mean": 0.1, "gaussian": 0.3, "resize": 0.2, "jpeg-10": 0.625},
        },
    }


def make_manifest():
    return {
        "classes": CLASSES,
        "counts": {"samples": 10000},
        "image": {"sizes": "one", "width": 32, "height": 32},
        "settings": {"method": "sem", "rho_u": "8/255", "views": "crop-flip"},
        "noise": {"psnr_mean": 34.2, "linf_max": 8},
    }


def make_pictures():
    random = np.random.default_rng(1)
    clean = random.integers(0, 256, (2, 32, 48, 3))
    protected = np.clip(clean + random.integers(-8, 9, clean.shape), 0, 255)
    pairs = zip(CLASSES, clean.astype(np.uint8), protected.astype(np.uint8), strict=False)
    return [Picture(*pair) for pair in pairs]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, make_about(), make_manifest(), make_pictures())
    return path


def words_of(path):
    """What the page says, without markup, style and script."""
    text = re.sub(r"<(style|script).*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def browse(path, tmp_path):
    """What a headless browser sees of the page (see PROBE), and what it writes to its console."""
    copied = tmp_path / "copied.html"
    copied.write_text(path.read_text("utf-8").replace("</title>", f"</title>{PROBE}"), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--window-size=1200,900", "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom", copied.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


def test_equal_input_gives_equal_bytes(page, tmp_path):
    write_report(tmp_path / "again.html", make_about(), make_manifest(), make_pictures())
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_input_is_left_as_it_was(tmp_path):
    about, manifest = make_about(), make_manifest()
    before = copy.deepcopy((about, manifest))
    write_report(tmp_path / "report.html", about, manifest, [])
    assert (about, manifest) == before


def test_every_link_of_the_page_is_a_data_url(page):
    text = page.read_text("utf-8")
    links = re.findall(r"""(?:src|href|action|srcset|poster|data)\s*=\s*["']?([^"'\s>]+)""", text)
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"https?://|//\w|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))


def test_the_overall_verdict_comes_first_and_says_what_was_not_tried(page):
    words = words_of(page)
    verdict, not_tried = words.index("The strongest gets <it>."), words.index("mixup & cutout; victims: vit")
    assert words.index("weakens") < verdict < not_tried < words.index("What each attacker reaches")


def test_adversarially_trained_victims_show_their_accuracy_under_pgd(page):
    attacked = sum(attacker["rho_a"] != "0/255" for attacker in make_about()["attackers"])
    assert page.read_text().count("<td>12.3%</td>") == attacked


def test_names_stand_as_text(page):
    text = page.read_text("utf-8")
    assert text.count("<script>") == 1
    assert all(name in words_of(page) for name in CLASSES[:-1])
    assert "Classes without a test image, left out: 1." in words_of(page)


def test_a_page_with_originals_says_that_it_is_private(page, tmp_path):
    write_report(tmp_path / "report.html", make_about(), make_manifest(), [])
    assert "This page contains clean originals." in words_of(page)
    assert "This page contains clean originals." not in words_of(tmp_path / "report.html")


def test_a_single_attacker_needs_no_heat_map(tmp_path):
    about = make_about()
    about["attackers"] = about["attackers"][-1:]
    write_report(tmp_path / "report.html", about, make_manifest(), [])
    assert "What each attacker reaches" not in words_of(tmp_path / "report.html")


def test_curves_beyond_the_cap_are_counted(tmp_path):
    about = make_about()
    about["attackers"] = [{**a, "name": f"{a['name']}, {turn}"} for turn in range(3) for a in about["attackers"]]
    about["verdict"]["attacker"] = about["attackers"][0]["name"]
    write_report(tmp_path / "report.html", about, make_manifest(), [])
    assert "The curves of 12 more are in report.json." in words_of(tmp_path / "report.html")


def test_the_heat_map_leaves_untried_radii_empty():
    attackers = make_about()["attackers"]
    radii, rows = heat(attackers[1:])
    assert radii == ["2/255", "0/255"]
    assert rows[0][1] == [attackers[1], None]
    assert len(rows) == 6


def test_early_stopping_is_the_mean_over_seeds():
    patiences, rows = stop_table(make_figure(0.5, stops=True)["seeds"])
    assert patiences == [1000, 3000]
    assert rows[0] == (0.0, [(pytest.approx(0.495), 50)] * 2)
    assert rows[1] == (0.1, [(pytest.approx(0.395), 50)] * 2)


@pytest.mark.parametrize(("classes", "shown", "hidden"), [(2, 2, 0), (40, 40, 0), (41, 40, 1), (1000, 40, 960)])
def test_many_classes_show_both_ends(classes, shown, hidden):
    shares = [number / classes for number in range(classes)]
    data = {kind: {"seeds": [{"per_class": shares}]} for kind in ("clean", "protected")}
    found = per_class(data, [str(number) for number in range(classes)])
    names = [name for _, rows in found["lists"] for name, *_ in rows]
    assert (len(names), len(set(names)), found["hidden"]) == (shown, shown, hidden)
    assert (names[0], names[-1]) == (str(classes - 1), "0")


def test_shades_darken_steadily_and_their_ink_can_be_read():
    def luminance(colour):
        shares = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    cells = [re.fullmatch(r"background: #(\w{6}); color: #(\w)\2\2", shade(n / 100)).groups() for n in range(-5, 106)]
    behind, ink = (
        [luminance(colour) for colour in column] for column in zip(*((b, i * 6) for b, i in cells), strict=True)
    )
    assert behind[5:-5] == sorted(set(behind), reverse=True)
    assert all((max(pair) + 0.05) / (min(pair) + 0.05) >= 4.5 for pair in zip(behind, ink, strict=True))


@pytest.mark.parametrize("values", [[8], [0, 16], [1.0] * 9, [34.2, 99.0], list(range(200)), [-0.2, 0.4]])
@pytest.mark.parametrize(("whole", "bound"), [(True, None), (False, None), (False, 200.0)])
def test_any_values_make_a_histogram(values, whole, bound):
    assert b"<svg" in histogram_svg(values, "unit", whole=whole, bound=bound)


def test_curves_may_have_one_point_only():
    assert b"<svg" in curves_svg({"clean": {"seeds": [{"curve": [{"step": 5, "test": 0.5}]}]}}, 0.5, (3, 2))


def test_amplified_noise_stays_around_middle_grey():
    clean = np.array([[[0, 200, 100]]], np.uint8)
    assert amplified(clean, clean, 15).tolist() == [[[128] * 3]]
    assert amplified(clean, clean + np.uint8(8), 15).tolist() == [[[248] * 3]]
    assert amplified(clean, np.zeros_like(clean), 15).tolist() == [[[128, 0, 0]]]


def test_drawing_waits_until_a_report_is_written():
    code = "import semshard.verification.report, sys; print([m for m in ('matplotlib', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@no_browser
def test_a_browser_shows_the_whole_page_and_loads_nothing_else(page, tmp_path):
    seen, console = browse(page, tmp_path)
    assert (seen["errors"], seen["blocked"], seen["requests"], console) == ([], [], [], [])
    assert len(seen["widths"]) == 12 + 3 + 2 * 5  # curves, histograms, pictures with their slides
    assert min(seen["widths"]) > 0
    assert seen["overflow"] == 0
    clips = ["inset(0px 100% 0px 0px)", "inset(0px 70% 0px 0px)", "inset(0px 0% 0px 0px)"]
    assert seen["slides"] == [{"clips": clips, "hidden": False}] * 2


@no_browser
def test_the_policy_of_the_page_keeps_the_network_out(page, tmp_path):
    spoiled = tmp_path / "spoiled.html"
    image = '<img src="http://127.0.0.1:9/a.png">'
    spoiled.write_text(page.read_text("utf-8").replace("</main>", f"{image}</main>"), "utf-8")
    seen, console = browse(spoiled, tmp_path)
    assert seen["blocked"] == ["http://127.0.0.1:9/a.png"]
    assert console
