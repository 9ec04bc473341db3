"""Known vulnerabilities of the installed packages, by pip-audit: `python .ci/advisories.py`.

Exits with 1 where a package has one. The answers come from PyPI, over the network: where it does not answer in time, or
knows nothing of some packages, this says what was not checked, and that alone is not a failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

SECONDS = 120  # for everything
AUDIT = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable", "--timeout", "10")
# Of an advisory that does not concern this project: its name, and why.
ACCEPTED: dict[str, str] = {}
_UNREACHABLE = re.compile(
    r"Connection|timed? ?out|Max retries|resolve|ServiceError|unreachable|\b50[0-9]\b", re.IGNORECASE
)


def report(packages: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Exit code and sentences for what pip-audit found out about installed packages."""
    packages = [each for each in packages if "editable" not in each.get("skip_reason", "")]
    checked = [each for each in packages if "skip_reason" not in each]
    lines, code = [], 0
    for each in checked:
        for found in each["vulns"]:
            if {found["id"], *found.get("aliases", ())} & ACCEPTED.keys():
                continue
            fixed = ", ".join(found["fix_versions"]) or "none yet"
            lines.append(f"{each['name']} {each['version']}: {found['id']}; fixed in: {fixed}")
            code = 1
    if not checked:
        return 0, [f"NOT CHECKED: PyPI has no advisories to offer here for any of {len(packages)} packages"]
    lines.append(f"{len(checked)} of {len(packages)} packages checked for known vulnerabilities")
    if missed := [each["name"] for each in packages if "skip_reason" in each]:
        lines.append(f"NOT CHECKED, unknown to PyPI: {', '.join(missed)}")
    return code, lines


def main() -> int:
    try:
        done = subprocess.run([sys.executable, *AUDIT], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(f"advisories: NOT CHECKED: PyPI did not answer within {SECONDS} seconds")
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        errors = done.stderr.strip()
        if _UNREACHABLE.search(errors):
            print(f"advisories: NOT CHECKED: PyPI cannot be reached ({errors.splitlines()[-1][:200]})")
            return 0
        print(f"advisories: pip-audit failed:\n{errors}")
        return 1
    code, lines = report(packages)
    for line in lines:
        print(f"advisories: {line}")
    return code


if __name__ == "__main__":
    sys.exit(main())
