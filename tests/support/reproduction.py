"""What the tests of reproductions share: settings that make protections and victims small."""

from tests.support.runs import TINY

SMALL = {name: TINY[name] for name in ("steps", "batch", "steps_u", "steps_a", "final_steps", "shard_size")}
VICTIM = {"steps": 4, "batch": 8, "steps_a": 1, "evaluations": 2, "holdout": 0.3}
