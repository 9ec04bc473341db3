"""The methods beside the grid: kernels against finite networks, shortcuts, targets, budgets, costs."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.engine import Runtime
from semshard.errors import SettingError
from semshard.models import build
from semshard.noise.methods import METHODS, check_block, cost, make_noise
from semshard.noise.methods.ntga import (
    BIAS_VARIANCE,
    LAYERS,
    RIDGE,
    WEIGHT_VARIANCE,
    Descent,
    diagonal,
    held_out_gradient,
    kernel,
    largest,
    learn,
    needed,
    predict,
)
from semshard.noise.methods.shortcut import SEPARATION, points
from semshard.settings import METHODS as NAMES
from semshard.settings import protect_config

CPU = Runtime(torch.device("cpu"), "float32")
SIZE = (32, 32)
WIDTH, NETWORKS = 1024, 24


def config_of(method, **given):
    return protect_config("quick", SIZE, "float32", {"method": method, **given})


def pictures(n=12, classes=4):
    g = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (n, 3, *SIZE), generator=g).to(torch.uint8), torch.arange(n) % classes


def noise_of(method, classes=4, **given):
    config = config_of(method, **given)
    images, labels = pictures(24, classes)
    model = build("small", classes, SIZE, seed=1) if config.has_surrogate else None
    return make_noise(CPU, config, classes, SIZE, model=model, held_out=lambda numbers: (images[12:], labels[12:]))


@pytest.mark.parametrize("method", [name for name in NAMES if name != "cell"])
@pytest.mark.parametrize("rho_u", ["1/255", "8/255", "16/255"])
def test_every_method_keeps_the_budget_and_repeats_itself(method, rho_u):
    images, labels = pictures()
    rows = []
    for at in (0, 0, 64):
        noise = noise_of(method, rho_u=rho_u, final_steps=10, seed=5)
        rows.append(noise(images, labels, np.arange(len(images)), 0, at))
    assert rows[0].dtype == torch.int8
    assert rows[0].shape == images.shape
    assert rows[0].abs().max() == int(rho_u.partition("/")[0])
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2]) == (method == "ntga"), "drawn by the place in the shard, but for NTGA"


def test_the_table_explains_every_method():
    assert {method.name for method in METHODS} == set(NAMES) - {"cell"}


# --- TAP ---------------------------------------------------------------------------------------------------------


def test_tap_leads_to_the_next_class_and_em_to_the_own():
    images, labels = pictures(32, 10)
    model = build("small", 10, SIZE, seed=1).eval()
    random = torch.randint(-8, 9, images.shape, generator=torch.Generator().manual_seed(0))
    for method, target in (("tap", (labels + 1) % 10), ("em-aligned", labels)):
        config = config_of(method, pad=0)
        noise = make_noise(CPU, config, 10, SIZE, model=model)(images, labels, np.arange(32), 0, 0)
        with torch.no_grad():
            losses = [F.cross_entropy(model((images + d) / 255), target) for d in (torch.zeros(1), noise, random)]
        gained, by_chance = (float(losses[0] - after) for after in losses[1:])
        assert gained > max(0.02, 5 * abs(by_chance)), method


def test_a_push_raises_the_loss_at_the_own_class():
    images, labels = pictures(32, 10)
    model = build("small", 10, SIZE, seed=1).eval()
    noise = make_noise(CPU, config_of("push", pad=0), 10, SIZE, model=model)(images, labels, np.arange(32), 0, 0)
    with torch.no_grad():
        clean, pushed = (F.cross_entropy(model((images + d) / 255), labels) for d in (torch.zeros(1), noise))
    assert pushed > clean + 0.02


# --- EM ----------------------------------------------------------------------------------------------------------


def test_noise_that_is_made_on_views_is_enlarged_to_the_image():
    config = protect_config("quick", None, "float32", {"method": "em", "crop": 24})
    model = build("small", 4, (24, 24), seed=1)
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((48, 96), (70, 30), (24, 24), (48, 96))]
    for photo in photos:
        photo.flags.writeable = False  # as decoders give them
    made = make_noise(CPU, config, 4, None, model=model).photos(photos, torch.arange(4), 0, 0)
    for photo, protected in zip(photos, made, strict=True):
        assert protected.shape == photo.shape
        change = protected.astype(int) - photo
        assert np.abs(change).max() == 8
        inside = (photo >= 8) & (photo <= 247)  # unclipped: one value for each pixel of the view
        if photo.shape == (48, 96, 3):
            cells, free = (of.reshape(24, 2, 24, 4, 3) for of in (change, inside))
            whole = free.all((1, 3))
            assert (cells == cells[:, :1, :, :1]).all((1, 3))[whole].all()
            assert whole.any()
    assert not np.array_equal(made[0], made[3])


# --- NTGA --------------------------------------------------------------------------------------------------------


def finite_kernel(x, seed):
    """Inner products of parameter gradients of one random network: what the closed form is the limit of."""
    g = torch.Generator().manual_seed(seed)
    widths = [x.shape[1], *[WIDTH] * LAYERS]
    weights = [torch.randn(n, m, generator=g, dtype=x.dtype) for m, n in itertools.pairwise(widths)]
    biases = [torch.randn(n, generator=g, dtype=x.dtype) for n in widths[1:]]
    parameters = [p.requires_grad_() for p in (*weights, *biases)]
    signs = torch.randint(0, 2, (WIDTH,), generator=g).to(x.dtype) * 2 - 1  # the mean over outputs, in expectation
    rows = []
    for one in x:
        h = one
        for w, b in zip(weights, biases, strict=True):
            h = torch.erf(math.sqrt(WEIGHT_VARIANCE / len(h)) * (w @ h) + math.sqrt(BIAS_VARIANCE) * b)
        gradients = torch.autograd.grad((signs * h).sum() / math.sqrt(WIDTH), parameters)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    stacked = torch.stack(rows)
    return stacked @ stacked.T


def test_the_kernel_is_the_mean_over_wide_finite_networks():
    x = torch.rand(3, 40, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.2], [1.0], [3.0]])
    measured = sum(finite_kernel(x, seed) for seed in range(NETWORKS)) / NETWORKS
    closed = kernel(x.double(), x.double(), diagonal(x.double()), diagonal(x.double())).float()
    torch.testing.assert_close(measured, closed, rtol=0.04, atol=0)


def test_the_kernel_is_symmetric_positive_and_takes_its_diagonal_from_itself():
    x = torch.rand(30, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = kernel(x, x, diagonal(x), diagonal(x))
    torch.testing.assert_close(whole, whole.T)
    assert torch.linalg.eigvalsh(whole).min() > 0
    part = kernel(x[:7], x[10:], diagonal(x[:7]), diagonal(x[10:]))
    torch.testing.assert_close(part, whole[:7, 10:])


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1.0])
def test_descent_and_its_gradient_hold_without_gaps_between_eigenvalues(spread):
    g = torch.Generator().manual_seed(0)
    part = torch.randn(5, 5, dtype=torch.float64, generator=g)
    matrix = (2 * torch.eye(5, dtype=torch.float64) + spread * part @ part.T).requires_grad_()
    time = 0.7

    def phi(m):
        m = (m + m.T) / 2
        return torch.linalg.solve(m, torch.eye(5, dtype=m.dtype) - torch.linalg.matrix_exp(-time * m))

    def ours(m):
        return Descent.apply((m + m.T) / 2, time)

    torch.testing.assert_close(ours(matrix), phi(matrix))
    weights = torch.randn(5, 5, dtype=torch.float64, generator=g)
    mine, theirs = (torch.autograd.grad((weights * f(matrix)).sum(), matrix)[0] for f in (ours, phi))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_predictions_are_those_of_gradient_descent_in_small_steps():
    g = torch.Generator().manual_seed(2)
    x, v = torch.rand(6, 30, dtype=torch.float64, generator=g), torch.rand(4, 30, dtype=torch.float64, generator=g)
    y = F.one_hot(torch.arange(6) % 3).double()
    inside = kernel(x, x, diagonal(x), diagonal(x))
    inside = inside + RIDGE * inside.diagonal().mean() * torch.eye(6, dtype=torch.float64)
    across = kernel(v, x, diagonal(v), diagonal(x))
    f_x, f_v, small = torch.zeros_like(y), torch.zeros(4, 3, dtype=torch.float64), 64 / 20_000
    for _ in range(20_000):
        slope = (y - f_x) / y.numel()  # of half the mean square
        f_x, f_v = f_x + small * inside @ slope, f_v + small * across @ slope
    torch.testing.assert_close(predict(x, learn(x, y), v), f_v, rtol=1e-3, atol=1e-4)


def test_the_held_out_gradient_in_parts_is_that_of_the_whole():
    g = torch.Generator().manual_seed(4)
    x, v = torch.rand(6, 30, dtype=torch.float64, generator=g), torch.rand(20, 30, dtype=torch.float64, generator=g)
    y, answers = F.one_hot(torch.arange(6) % 3).double(), torch.arange(20) % 3
    x.requires_grad_()
    (whole,) = torch.autograd.grad(F.cross_entropy(predict(x, learn(x, y), v), answers, reduction="sum"), x)
    torch.testing.assert_close(held_out_gradient(x, y, v, answers), whole)


def test_ntga_makes_the_network_worse_on_images_outside_the_block():
    images, labels = pictures(36, 3)
    block, others = (images[:24], labels[:24]), (images[24:], labels[24:])
    config = config_of("ntga")
    noise = make_noise(CPU, config, 3, SIZE, held_out=lambda numbers: others)(*block, np.arange(24), 0, 0)

    def loss(train):
        x, v = (part.double().flatten(1) / 255 for part in (train, others[0]))
        return float(F.cross_entropy(predict(x, learn(x, F.one_hot(block[1]).double()), v), others[1]))

    random = torch.randint(-8, 9, noise.shape, generator=torch.Generator().manual_seed(0))
    gained, by_chance = (loss((block[0] + d).clamp(0, 255)) - loss(block[0]) for d in (noise, random))
    assert gained > 10 * abs(by_chance)


@settings(max_examples=50)
@given(st.integers(10**6, 10**13), st.integers(100, 500_000))
def test_the_block_that_is_named_is_the_largest_that_fits(memory, pixels):
    block = largest(memory, pixels)
    assert needed(block, pixels) <= memory or block == 0
    assert needed(block + 1, pixels) > memory


def test_a_kernel_that_does_not_fit_names_the_block_that_does():
    config = dataclasses.replace(config_of("ntga"), craft_batch=100_000, shard_size=100_000)
    with pytest.raises(SettingError, match=r"takes about \d+\.\d GB.*--craft-batch \d+ fits"):
        check_block(CPU, config, 200_000, 3072)
    with pytest.raises(SettingError, match="leaves none of 300; set --craft-batch to 150 or less"):
        check_block(CPU, config_of("ntga"), 300, 3072)
    check_block(CPU, config_of("ntga"), 10_000, 3072)


# --- shortcuts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "features"), [(2, 3), (10, 48), (100, 48), (1000, 147)])
def test_shortcut_patterns_are_linearly_separable(classes, features):
    clusters = points(classes, features, seed=3)
    assert clusters.shape[0] == classes
    corners = np.sign(clusters.mean(1)) * SEPARATION
    assert len({tuple(corner) for corner in corners.tolist()}) == classes
    own = np.einsum("cpf,cf->cp", clusters, corners)
    rest = max(float((clusters[c] @ np.delete(corners, c, 0).T).max() - own[c].min()) for c in range(min(classes, 10)))
    if features >= 48 and classes <= 10:
        assert rest < own.min(), "the nearest corner names the class"


def test_a_shortcut_is_one_value_a_patch_and_differs_within_a_class():
    images, labels = pictures()
    noise = noise_of("sc")(images, labels, np.arange(12), 0, 0)
    patches = noise.reshape(12, 3, 4, 8, 4, 8)
    assert (patches == patches[:, :, :, :1, :, :1]).all()
    assert not torch.equal(noise[0], noise[4]), "two images of a class"
    near, far = (float((noise[0] - noise[other]).double().abs().mean()) for other in (4, 1))
    assert near < far


def test_patches_too_coarse_for_the_classes_are_refused():
    with pytest.raises(SettingError, match="lower --patch"):
        make_noise(CPU, config_of("sc", patch=32), 10, SIZE)


# --- what they cost ----------------------------------------------------------------------------------------------


def test_costs_are_counted_in_passes():
    sem = cost(protect_config("paper", SIZE, "float32", {}))
    assert sem.training == 5000 * 128 * (10 * 5 * 2 + 10 * 2 + 3)
    assert sem.crafting == 10 * 5 * 2
    rem = cost(protect_config("paper", SIZE, "float32", {"method": "rem"}))
    assert rem.training == 5000 * 128 * (10 * 5 * 22 + 23)
    assert cost(config_of("tap")).training == 1600 * 64 * 3
    push = cost(config_of("push"))
    assert (push.training, push.crafting) == (640 * 64 * (3 + 2 * 5), 12 * 2)
    assert cost(config_of("ntga")) is None is cost(config_of("sc"))
