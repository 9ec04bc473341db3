"""What theory says of the attackers that were tried: adversarial training bounds what noise can do.

Tao et al., "Better safe than sorry: preventing delusive adversaries with adversarial training", NeurIPS 2021: where no
pixel moves by more than ρ_u, the error on the originals is at most the adversarial error on the shards at a radius
ρ_a ≥ ρ_u. For every original lies within that radius of its published form.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..settings import format_radius


def theory(rho_u: float, reached: Mapping[float, float]) -> str:
    """The bound in words, and whether it was put to the test. `reached` is the best accuracy on the shards by radius
    of adversarial training, of attackers who take the pictures as they are.
    """
    radius = format_radius(rho_u)
    beyond = {rho: best for rho, best in reached.items() if rho >= rho_u and rho > 0}
    if beyond:
        best = max(beyond, key=lambda rho: beyond[rho])
        tried = f"It was tried, and reaches at best {beyond[best]:.1%} at {format_radius(best)}"
    elif any(reached):
        tried = f"It was not tried at such a radius; the largest was {format_radius(max(reached))}"
    else:
        tried = "It was not tried on the pictures as they are"
    return (
        f"Theory: adversarial training at a radius of at least that of the noise, {radius}, bounds what any noise "
        f"within it can do (Tao et al. 2021). {tried}. Below that radius nothing is known to be impossible. So the "
        "verdict holds for these attackers, at these radii, on this collection."
    )
