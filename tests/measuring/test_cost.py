"""What a run asks of a device, held against arithmetic by hand."""

import pytest

from semshard.measuring.cost import Work, network
from semshard.settings import protect_config, verify_config

CIFAR = (32, 32)
RESNET = network("resnet18", 10, CIFAR, "bfloat16")


def paper(method="sem", **given):
    return protect_config("paper", CIFAR, "bfloat16", {"method": method, **given})


def test_a_forward_pass_of_resnet_18_is_counted_layer_by_layer():
    """Stem, four stages of two blocks, the first convolution of stages two to four with half the channels in."""
    stem = 3 * 64 * 9 * 32 * 32
    first = 4 * 64 * 64 * 9 * 32 * 32
    later = [(c // 2 * c * 9 + 3 * c * c * 9 + c // 2 * c) * side * side for c, side in ((128, 16), (256, 8), (512, 4))]
    assert RESNET.flop == 2 * (stem + first + sum(later) + 512 * 10)
    inputs = (3 + 4 * 64) * 32**2
    outputs = 5 * 64 * 32**2
    for c, side in ((128, 16), (256, 8), (512, 4)):
        inputs += 2 * (c // 2) * (2 * side) ** 2 + 3 * c * side**2  # of the shortcut, too
        outputs += 5 * c * side**2
    assert RESNET.values == inputs + outputs + 512 + 10
    assert RESNET.width == 2


@pytest.mark.parametrize(
    ("method", "surrogate", "images"),
    [("sem", 87.4, 5.55), ("rem", 798, 61.1), ("em", 16.35, 1.11), ("em-aligned", 16.35, 1.11), ("tap", 17.07, 27.8)],
)
def test_the_paper_scale_in_petaflop(method, surrogate, images):
    """1.11 GFLOP a forward pass, twice that an input gradient, thrice a parameter step; 5,000 steps of 128 images, of
    TAP's clean network 40,000.
    """
    config = paper(method)
    assert RESNET.surrogate(config).flop / 1e15 == pytest.approx(surrogate, rel=0.01)
    assert RESNET.crafting(config, 50_000).flop / 1e15 == pytest.approx(images, rel=0.01)


def test_the_papers_network_for_photographs_costs_fifteen_times_the_usual_one():
    theirs, usual = (network(name, 100, (224, 224), "bfloat16").flop for name in ("resnet18-paper", "resnet18"))
    assert theirs / 2e9 == pytest.approx(27.2, abs=0.1)
    assert usual / 2e9 == pytest.approx(1.81, abs=0.01)
    squares = protect_config("paper", (256, 256), "bfloat16", {})
    photographs = protect_config("paper", None, "bfloat16", {})
    assert (squares.network, photographs.network) == ("resnet18-paper", "resnet18")
    passes = 3_000 * 128 * (7 * 4 * 2 + 7 * 2 + 3)
    assert network(squares.network, 100, (224, 224), "bfloat16").surrogate(squares).flop == passes * theirs


def test_a_forward_pass_of_the_medium_network_is_a_fifth_of_a_gigaflop():
    """Stem; three convolutions that double the width, at 32, 16 and 8 pixels a side; two blocks, at 16 and 4."""
    plain = 3 * 32 * 32**2 + 32 * 64 * 32**2 + 64 * 128 * 16**2 + 128 * 256 * 8**2
    blocks = 2 * 64**2 * 16**2 + 2 * 256**2 * 4**2
    flop = network("resnet9", 10, CIFAR, "bfloat16").flop
    assert flop == 2 * (9 * (plain + blocks) + 256 * 10)
    assert flop / 1e9 == pytest.approx(0.19, abs=0.005)


def test_a_victim_of_the_paper_in_petaflop():
    config = verify_config("paper", CIFAR, "bfloat16", {})
    looked_at = 40 * 12_000 * 1.11e-6
    adversarial, standard = (RESNET.victim(config, rho, 12_000, 21 * 10_000).flop / 1e15 for rho in (4 / 255, 0))
    assert adversarial == pytest.approx(131 + looked_at + 10_000 * 21 * 1.11e-6, rel=0.01)
    assert standard == pytest.approx(17.07 + looked_at, rel=0.01)


def test_methods_without_a_network_ask_for_nothing():
    for method in ("sc", "ntga"):
        assert RESNET.surrogate(paper(method)) == RESNET.crafting(paper(method), 50_000) == Work()


def test_the_larger_of_two_times_is_the_least():
    assert Work(100, 10).seconds(10, 10) == 10
    assert Work(100, 1000).seconds(10, 10) == 100


def test_a_larger_batch_reads_weights_less_often():
    assert RESNET.passes(128, 128).bytes < RESNET.passes(128, 64).bytes
    assert RESNET.passes(128, 128).flop == RESNET.passes(128, 64).flop
