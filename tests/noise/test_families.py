"""Families of views: what each does to pixels, that the adjoint is the adjoint or the slope, and who is drawn."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semshard.engine import make_runtime
from semshard.noise import NoiseCrafter, new_surrogate
from semshard.noise.photos import PhotoNoise
from semshard.noise.views import CropFlip, Families, ResizedCrop, families_of, make_view, noise_view
from semshard.settings import FAMILIES, GEOMETRY, NAMES
from semshard.victims import BY_NAME, apply
from tests.support.devices import on_gpu
from tests.support.views import views_of

SHAPES = [(6, 3, 32, 32), (1, 3, 23, 31), (5, 3, 9, 40)]
AFFINE = ("grey", "blur", "resize", "cutout")
OTHERS = tuple(name for name in NAMES if name not in GEOMETRY)
CPU = make_runtime("cpu", "float32")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def family(name):
    ((family, _),) = families_of((f"{name}=1",)).members
    return family


def pictures(shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=generator(seed))


def levels(shape, seed=0):
    return torch.randint(0, 256, shape, generator=generator(seed)).to(torch.uint8)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_family_gives_pictures_of_the_same_shape_and_range(name, shape):
    x = pictures(shape).float()
    of = family(name)
    params = of.draw(x, generator())
    seen, saved = of.apply(x, params)
    assert seen.shape == x.shape
    assert seen.dtype == x.dtype
    assert -1e-6 <= seen.min() <= seen.max() <= 1 + 1e-6
    assert of.adjoint(torch.ones_like(seen), params, saved).shape == x.shape
    assert not torch.equal(seen, x)


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_adjoint_of_an_affine_family_is_the_adjoint(name, shape, seed):
    of, x = family(name), torch.randn(shape, dtype=torch.float64, generator=generator(seed))
    params = of.draw(x, generator(seed + 100))
    seen, saved = of.apply(x, params)
    linear = seen - of.apply(torch.zeros_like(x), params)[0]
    g = torch.randn(shape, dtype=torch.float64, generator=generator(seed + 200))
    back = of.adjoint(g, params, saved)
    torch.testing.assert_close((linear * g).sum(), (x * back).sum(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", [*AFFINE, "jitter"])
def test_the_gradient_of_a_smooth_family_is_that_of_autograd(name):
    of, x = family(name), pictures((4, 3, 12, 17)).requires_grad_()
    params = of.draw(x, generator(1))
    seen, saved = of.apply(x, params)
    g = torch.randn_like(seen)
    (expected,) = torch.autograd.grad(seen, x, g)
    torch.testing.assert_close(of.adjoint(g, params, saved), expected, rtol=1e-10, atol=1e-12)


def test_jitter_is_clipped_somewhere_and_its_gradient_there_is_none():
    of, x = family("jitter"), pictures((16, 3, 8, 8))
    params = of.draw(x, generator())
    seen, inside = of.apply(x, params)
    assert 0 < (~inside).sum() < inside.numel() / 2
    assert set(seen[~inside].tolist()) <= {0.0, 1.0}
    assert not of.adjoint((~inside).double(), params, inside).any()


def test_the_gradient_goes_straight_through_few_bits():
    of, x = family("bits"), pictures((64, 3, 8, 8))
    params = of.draw(x, generator())
    seen, saved = of.apply(x, params)
    counts = {round(float(each)) + 1 for each in params.flatten()}
    assert counts == {4, 8, 16, 32}
    for picture, most in zip(seen, params.flatten(), strict=True):
        assert torch.equal((picture * most).round() / most, picture)
    g = torch.randn_like(x)
    assert torch.equal(of.adjoint(g, params, saved), g)


def test_jpeg_is_what_libjpeg_decodes_at_the_drawn_qualities_and_both_chroma_modes():
    of, x = family("jpeg"), levels((40, 3, 32, 32))
    coders = of.draw(x.double() / 255, generator())
    assert [coder.subsampling for coder in coders] == ["4:4:4", "4:2:0"]
    qualities = torch.cat([coder.quality for coder in coders])
    assert 10 <= qualities.min() < 30 < 70 < qualities.max() <= 90
    seen, _ = of.apply(x.double() / 255, coders)
    for number, (picture, quality) in enumerate(zip(x, qualities.tolist(), strict=True)):
        file = io.BytesIO()
        pixels = Image.fromarray(picture.permute(1, 2, 0).numpy())
        pixels.save(file, "JPEG", quality=quality, subsampling=0 if number < 20 else 2)
        decoded = np.asarray(Image.open(file)).transpose(2, 0, 1)
        assert np.array_equal((seen[number] * 255).round().numpy(), decoded)


def test_the_gradient_of_jpeg_leads_downhill():
    """Of a drawn quality, towards another picture: a step against the gradient comes nearer to it."""
    of, x, goal = family("jpeg"), pictures((8, 3, 32, 32)), pictures((8, 3, 32, 32), 1)
    params = of.draw(x, generator())

    def distance(at):
        return float(((of.apply(at, params)[0] - goal) ** 2).sum())

    at = x.clone()
    for _ in range(10):
        seen, saved = of.apply(at, params)
        at = (at - 4 / 255 * of.adjoint(seen - goal, params, saved).sign()).clamp(0, 1)
    assert distance(at) < 0.85 * distance(x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_grey_is_the_same_in_either_memory_layout_and_its_channels_are_equal(layout):
    grey, x = family("grey"), torch.rand(3, 3, 9, 13, generator=generator())
    g = torch.randn(x.shape, generator=generator())
    seen, _ = grey.apply(x.contiguous(memory_format=layout), None)
    assert (seen == seen[:, :1]).all()
    luma = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(seen, luma.expand_as(x))
    back = grey.adjoint(g.contiguous(memory_format=layout), None, None)
    torch.testing.assert_close((seen * g).sum(), (x * back).sum())


def test_grey_is_what_an_attacker_makes_of_a_picture():
    x = levels((5, 3, 16, 16))
    seen, _ = family("grey").apply(x.double() / 255, None)
    theirs = apply(BY_NAME["grey"].filter, x)
    assert (seen * 255 - theirs).abs().max() <= 0.51


@pytest.mark.parametrize("name", ["blur", "resize"])
def test_a_low_pass_leaves_what_is_flat_and_takes_what_is_fine(name):
    of = family(name)
    flat = torch.full((50, 3, 20, 26), 0.7, dtype=torch.float64)
    params = of.draw(flat, generator())
    torch.testing.assert_close(of.apply(flat, params)[0], flat, rtol=1e-5, atol=1e-5)
    fine = torch.zeros_like(flat)
    fine[..., ::2] = 1
    assert of.apply(fine, params)[0].var() < 0.4 * fine.var()


@pytest.mark.parametrize("name", ["blur", "resize"])
def test_a_low_pass_of_squashed_pictures_is_that_of_the_pictures_by_themselves(name):
    """Twice as large by themselves, they lose so much less; as large as they are, they lose as ever."""
    of, x = family(name), pictures((40, 3, 24, 30)).float()
    usual, alike, twice, far = (
        of.draw(x, generator()) if sizes is None else of.on(torch.tensor([sizes] * 40)).draw(x, generator())
        for sizes in (None, (24, 30), (48, 60), (2400, 3000))
    )
    assert torch.equal(usual.rows, alike.rows)
    assert torch.equal(usual.columns, alike.columns)
    changes = [float((of.apply(x, params)[0] - x).abs().mean()) for params in (usual, twice, far)]
    assert changes[0] > 2 * changes[1] > changes[1] > changes[2]
    assert changes[2] < 1e-5


def test_squashed_pictures_in_families_keep_their_own_sizes():
    """Only the picture that is small by itself is changed by the blur, whichever are drawn."""
    x = pictures((8, 3, 24, 24)).float()
    sizes = torch.tensor([[2400, 2400]] * 7 + [[24, 24]])
    for seed in range(20):
        view = families_of(("blur=0.5",)).on(sizes)
        seen = view.apply(x, view.draw(x, generator(seed)))
        changed = (seen - x).abs().amax((1, 2, 3)) > 1e-4
        assert not changed[:7].any()
    view = families_of(("blur=1",)).on(sizes[-2:])
    repeated = x[-2:].repeat(3, 1, 1, 1)
    seen = view.apply(repeated, view.draw(repeated, generator()))
    assert ((seen - repeated).abs().amax((1, 2, 3)) > 1e-4).tolist() == [False, True] * 3, "three draws of two"


@pytest.mark.parametrize("name", ["blur", "resize"])
def test_a_low_pass_makes_no_subnormal_numbers(name):
    x = torch.zeros(50, 3, 64, 64)
    x[:, :, 30, 30] = 1 / 255
    of = family(name)
    seen, _ = of.apply(x, of.draw(x, generator()))
    assert seen[seen != 0].min() > torch.finfo(torch.float32).tiny


def test_cutout_hides_at_most_a_quarter():
    x = torch.zeros(500, 3, 32, 32)
    of = family("cutout")
    hidden = (of.apply(x, of.draw(x, generator()))[0] == 0.5).float().mean((1, 2, 3))
    assert hidden.max() == 0.25
    assert hidden.min() < 0.1


# --- who is drawn -------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.floats(0.01, 0.99), st.integers(0, 999))
def test_a_family_maps_its_share_of_a_batch_rounded_up_or_down(count, share, seed):
    x = pictures((count, 3, 4, 4))
    view = Families(((family("grey"), share),))
    seen = view.apply(x, view.draw(x, generator(seed)))
    mapped = int((seen[:, 0] == seen[:, 1]).all(2).all(1).sum())
    assert share * count - 1 < mapped < share * count + 1
    kept = (seen == x).flatten(1).all(1)
    assert int(kept.sum()) == count - mapped


@pytest.mark.parametrize("share", [0.25, 0.5, 0.7])
def test_every_picture_is_drawn_with_the_probability(share):
    x = pictures((3, 3, 2, 2))
    view, stream, times = Families(((family("grey"), share),)), generator(), 4000
    counts = torch.zeros(3)
    for _ in range(times):
        seen = view.apply(x, view.draw(x, stream))
        counts += (seen[:, 0] == seen[:, 1]).flatten(1).all(1)
    assert ((counts / times - share).abs() < 5 * (share * (1 - share) / times) ** 0.5).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_adjoint_of_several_families_is_the_adjoint(seed):
    view = families_of(("grey=0.5", "blur=0.3", "resize", "grey=1"))
    x = torch.randn(7, 3, 16, 18, dtype=torch.float64, generator=generator(seed))
    params = view.draw(x, generator(seed + 10))
    seen = view.apply(x, params)
    g = torch.randn(seen.shape, dtype=torch.float64, generator=generator(seed + 20))
    torch.testing.assert_close((seen * g).sum(), (x * view.adjoint(g, params)).sum(), rtol=1e-12, atol=1e-9)


def test_families_are_applied_in_their_order():
    x = pictures((4, 3, 16, 16))
    one, other = (families_of(items) for items in (("grey=1", "bits=1"), ("bits=1", "grey=1")))
    grey_last = other.apply(x, other.draw(x, generator()))
    grey_first = one.apply(x, one.draw(x, generator()))
    assert len(torch.unique(grey_first[0])) <= 32 < len(torch.unique(grey_last[0]))


def test_the_centre_of_families_is_the_picture():
    view = families_of(("grey=1", "jpeg"))
    x = pictures((2, 3, 8, 8))
    assert torch.equal(view.apply(x, view.centre(x)), x)


def test_every_family_has_a_line_and_a_class():
    assert len(set(NAMES)) == len(FAMILIES)
    for each in FAMILIES:
        assert each.line
        if each.name not in GEOMETRY:
            assert family(each.name)


def test_the_views_of_the_paper_are_its_crop_and_nothing_else():
    for size, kind in (((32, 32), CropFlip), (None, ResizedCrop)):
        config = views_of(size, views="paper")
        view, _ = make_view(config, size)
        assert type(view) is kind
        assert noise_view(view, config) is view


def test_both_steps_may_draw_from_different_families():
    config = views_of(views="grey=1", noise_views="paper")
    assert config.method == "sem"
    view, _ = make_view(config, (32, 32))
    x = pictures((4, 3, 32, 32))
    of_model, of_noise = (each.apply(x, each.draw(x, generator())) for each in (view, noise_view(view, config)))
    assert torch.equal(of_model[:, 0], of_model[:, 1])
    assert not torch.equal(of_noise[:, 0], of_noise[:, 1])
    assert views_of(noise_views="hardened").noise_families == views_of(views="hardened").families


# --- the noise ----------------------------------------------------------------------------------------------------


def test_noise_for_grey_views_is_for_grey_pictures():
    """Crafted for grey views alone, what it lowers is the loss of grey pictures, more than noise for the crop does."""
    x, labels = pictures((32, 3, 32, 32)).float(), torch.arange(32) % 4
    grey, _ = family("grey").apply(x, None)
    losses = {}
    for views in ("paper", "grey=1"):
        config = views_of(views=views, rho_a="2/255", steps_u=10, draws=2)
        model = new_surrogate(config, 4, (32, 32), CPU).eval().requires_grad_(False)
        view, _ = make_view(config, (32, 32))
        delta = NoiseCrafter(CPU.folded(model), view, config)(x, labels, generator())
        seen, _ = family("grey").apply(x + delta, None)
        losses[views] = float(torch.nn.functional.cross_entropy(model(seen), labels))
    before = float(torch.nn.functional.cross_entropy(model(grey), labels))
    assert losses["grey=1"] < losses["paper"] < before


def test_photographs_are_crafted_through_the_families():
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((60, 80), (130, 70))]
    made = {}
    for views in ("paper", "grey=1", "jpeg,jitter,resize"):
        config = views_of(None, views=views, crop=24, final_steps=6, final_alpha="4/255", final_draws=2)
        noise = PhotoNoise(CPU, CPU.folded(new_surrogate(config, 4, None, CPU)), config.final())
        made[views] = [
            each.astype(int) - photo
            for each, photo in zip(noise(photos, torch.tensor([0, 1]), "x"), photos, strict=True)
        ]
        assert all(np.abs(each).max() == 8 for each in made[views])

    def equal(name):
        """The share of pixels whose noise has one sign in all channels."""
        return np.mean([(each.min(2) * each.max(2) > 0).mean() for each in made[name]])

    assert equal("grey=1") > equal("paper") + 0.2
    assert not any(map(np.array_equal, made["paper"], made["jpeg,jitter,resize"]))


@on_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch warns once that it is a prototype
@pytest.mark.parametrize("name", OTHERS)
def test_a_gpu_draws_without_waiting_for_the_host(name):
    x = torch.rand(64, 3, 32, 32, device="cuda")
    view, stream = families_of((f"{name}=0.3",)), torch.Generator("cuda").manual_seed(0)
    view.adjoint(view.apply(x, params := view.draw(x, stream)), params)
    torch.cuda.set_sync_debug_mode("error")
    try:
        params = view.draw(x, stream)
        seen = view.apply(x, params)
        view.adjoint(seen, params)
    finally:
        torch.cuda.set_sync_debug_mode("default")
