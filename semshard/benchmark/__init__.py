"""What this machine can do, and how near semshard comes to it: ceilings, steps beside a plain baseline, data path."""
