"""Networks: the published sizes, any image size, frozen passes that are right, weights that fit or are refused."""

import copy
import hashlib
import re

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from semshard.engine import Runtime
from semshard.errors import SettingError
from semshard.models import build, build_from, head, read_weights
from semshard.settings import NETWORKS
from tests.support.networks import CPU, PRECISIONS, used

# torchvision's model pages (1,000 classes, 224 pixels), and Zagoruyko and Komodakis 2016, Table 4 (WRN-34-10 as in
# the code of Rice et al. 2020, 10 classes).
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "vgg16": 138_365_992,
    "densenet121": 7_978_856,
    "vit": 86_567_656,
}
SMALL_STEM = 3 * 64 * (7 * 7 - 3 * 3)


def count(name, classes, side):
    with torch.device("meta"):
        model = build(name, classes, (side, side), 0)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_of_large_networks_are_the_published_ones(name):
    assert count(name, 1000, 224) == PUBLISHED[name]


def test_parameter_counts_for_small_images():
    """The stem is smaller, the head has ten classes; VGG has one linear layer."""
    for name, features in (("resnet18", 512), ("resnet50", 2048), ("densenet121", 1024)):
        assert count(name, 10, 32) == PUBLISHED[name] - SMALL_STEM - 990 * (features + 1)
    assert count("vgg16", 10, 32) == 14_728_266  # the 14.73 M of CIFAR's VGG-16 with batch norm
    assert count("wrn34-10", 10, 32) == 46_160_474  # 46.16 M
    assert count("small", 10, 32) == pytest.approx(310_000, abs=10_000)
    convolutions = 9 * (3 * 32 + 32 * 64 + 2 * 64**2 + 64 * 128 + 128 * 256 + 2 * 256**2)
    assert count("resnet9", 10, 32) == convolutions + 2 * (32 + 3 * 64 + 128 + 3 * 256) + 10 * 257


def test_parameter_counts_of_the_authors_networks():
    """Their code's: the small stem at any size; ImageNet's stem at any size; a head of 512-512-10; a batch norm for
    each of WRN's 3 shortcuts, and one behind each convolution instead of before it.
    """
    assert count("resnet18-paper", 1000, 224) == PUBLISHED["resnet18"] - SMALL_STEM
    assert count("densenet121-paper", 10, 32) == PUBLISHED["densenet121"] - 990 * 1025
    assert count("vgg16-paper", 10, 32) == count("vgg16", 10, 32) + 2 * 513 * 512
    wide = [160, 320, 640]
    before = 16 + 4 * 160 + 160 + 4 * 320 + 320 + 4 * 640 + 5 * sum(wide) + 640
    behind = 16 + 2 * 5 * sum(wide) + sum(wide)
    assert count("wrn34-10-paper", 10, 32) == count("wrn34-10", 10, 32) + 2 * (behind - before)


def test_the_authors_resnet_is_the_small_one_at_any_size():
    ours, theirs = build("resnet18", 10, (32, 32), 3).state_dict(), build("resnet18-paper", 10, (224, 224), 3)
    assert all(torch.equal(value, ours[name]) for name, value in theirs.state_dict().items())


def test_the_authors_densenet_says_which_sizes_it_takes():
    build("densenet121-paper", 7, (29, 29), 0).eval()(torch.rand(1, 3, 29, 29))
    with pytest.raises(SettingError, match="takes images of 29 pixels a side or more"):
        build("densenet121-paper", 7, (28, 40), 0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (224, 224)])
def test_networks_take_small_images_and_photographs(name, size):
    with torch.no_grad():
        assert build(name, 7, size, seed=0).eval()(torch.rand(1, 3, *size)).shape == (1, 7)


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"vit", "densenet121-paper"}))
@pytest.mark.parametrize("size", [(28, 28), (33, 47)])
def test_convolutional_networks_take_any_size(name, size):
    with torch.no_grad():
        assert build(name, 7, size, seed=0).eval()(torch.rand(1, 3, *size)).shape == (1, 7)


def test_a_transformer_says_which_sizes_it_takes():
    with pytest.raises(SettingError, match="vit takes square images whose side is a multiple of 8; 33 × 47 is not"):
        build("vit", 7, (47, 33), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "resnet50", "vgg16", "densenet121", "wrn34-10", "vit", "vgg16-paper", "densenet121-paper", "wrn34-10-paper",
])  # fmt: skip
def test_gradients_of_deep_networks_are_those_of_the_plain_network(name):
    """Against float64. A ReLU at zero may fall on either side, in float32 too: plain passes of ResNet-50 are 0.007
    off. In bfloat16, where the CPU has it, the depth adds up rounding, but most signs remain, and signs are all that
    PGD takes.
    """
    torch.manual_seed(0)
    model = used(name, torch.float32)
    torch.nn.init.normal_(head(model)[1].weight, std=0.05)  # a transformer's head starts at zero
    x, y = torch.rand(3, 3, 32, 32), torch.arange(3)
    wide = x.double().requires_grad_()
    exact = copy.deepcopy(model).double().eval()
    theirs = torch.autograd.grad(F.cross_entropy(exact(wide), y, reduction="sum"), wide)[0]
    for precision in PRECISIONS:
        share, error = {"float32": (0.998, 0.01), "bfloat16": (0.85, 0.45)}[precision]
        ours = Runtime(CPU.device, precision).folded(model).gradient(x, y)
        assert (ours.sign() == theirs.sign()).double().mean() > share
        assert (ours - theirs).norm() < error * theirs.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "resnet18", "densenet121", "vit"])
def test_weights_from_a_file_are_in_the_network_and_its_head_is_new(name, tmp_path):
    model = build(name, 4, (32, 32), 3)
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, tmp_path / "w.safetensors")
    weights = read_weights(str(tmp_path / "w.safetensors"))
    finetuned = build_from(weights, name, 9, (32, 32), 5)
    new = head(model.net)[0]
    for key, value in model.net.state_dict().items():
        if not key.startswith(new + "."):
            assert torch.equal(finetuned.net.state_dict()[key], value)
    assert head(finetuned)[1].out_features == 9
    x = torch.rand(2, 3, 32, 32)
    for layer in (head(model)[1], head(finetuned)[1]):  # what a head sees is the same: pixels are centred as before
        torch.nn.init.constant_(layer.weight, 0.01)
        torch.nn.init.zeros_(layer.bias)
    assert torch.allclose(model.eval()(x)[:, 0], finetuned.eval()(x)[:, 0], atol=1e-5)


def test_a_file_may_say_how_its_pixels_are_normalised(tmp_path):
    state = build("small", 4, (32, 32), 3).state_dict()
    plain, described = tmp_path / "plain.safetensors", tmp_path / "described.safetensors"
    save_file(state, plain)
    save_file(state, described, {"mean": "[0.5, 0.4, 0.3]", "std": "[0.2, 0.25, 0.5]"})
    a, b = read_weights(str(plain)), read_weights(str(described))
    assert (b.mean, b.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    assert a.digest != b.digest, "the same tensors behind other pixels are another start"
    finetuned, x = build_from(b, "small", 4, (32, 32), 0).eval(), torch.rand(1, 3, 32, 32)
    seen = (x - torch.tensor(b.mean).view(1, 3, 1, 1)) / torch.tensor(b.std).view(1, 3, 1, 1)
    torch.testing.assert_close(finetuned(x), finetuned.net(seen))
    save_file(state, described, {"mean": "0.5"})
    with pytest.raises(SettingError, match="not a safetensors file with weights"):
        read_weights(str(described))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("side", [32, 224])
def test_no_network_draws_while_it_trains(name, side):
    """torch's dropout would draw from global state, and a resumed run would differ; ours is tested by itself."""
    with torch.device("meta"):
        modules = list(build(name, 10, (side, side), 0).modules())
    assert not [module for module in modules if isinstance(module, torch.nn.Dropout) and module.p > 0]
    assert not [module for module in modules if getattr(module, "drop_rate", 0)]


def test_weights_with_the_stem_for_photographs_bring_it_along(tmp_path):
    save_file(build("resnet18", 4, (224, 224), 3).state_dict(), tmp_path / "w.safetensors")
    finetuned = build_from(read_weights(str(tmp_path / "w.safetensors")), "resnet18", 10, (32, 32), 0)
    assert finetuned.net.conv1.kernel_size == (7, 7)
    assert finetuned(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_weights_that_do_not_fit_are_refused_with_the_tensor_at_fault(tmp_path):
    save_file(build("small", 4, (32, 32), 3).state_dict(), tmp_path / "w.safetensors")
    weights = read_weights(str(tmp_path / "w.safetensors"))
    with pytest.raises(SettingError, match=r"no weights of resnet18 for 32 × 32 pixels: \d+ tensors are missing"):
        build_from(weights, "resnet18", 4, (32, 32), 0)
    with pytest.raises(SettingError, match=r"stem\.weight is .* the network's is"):
        build_from(weights, "small", 4, (80, 80), 0)
    (tmp_path / "no.safetensors").write_bytes(b"hello")
    with pytest.raises(SettingError, match="is not a safetensors file"):
        read_weights(str(tmp_path / "no.safetensors"))
    with pytest.raises(SettingError, match="is not a safetensors file"):
        read_weights(str(tmp_path / "nowhere.safetensors"))


def test_torchvisions_weights_come_from_its_cache_only_and_are_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    name = "ResNet18_Weights.IMAGENET1K_V1"
    with pytest.raises(SettingError, match="not in torchvision's cache; semshard downloads nothing"):
        read_weights(name)
    with pytest.raises(SettingError, match="torchvision has no weights"):
        read_weights("ResNet19_Weights.IMAGENET1K_V1")
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    torch.save(build("resnet18", 1000, (224, 224), 0).net.state_dict(), path)
    with pytest.raises(SettingError, match="not the file that its name says"):
        read_weights(name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    from torchvision.models import ResNet18_Weights

    url = f"https://download.pytorch.org/models/resnet18-{digest[:8]}.pth"
    path.rename(path.with_name(url.rpartition("/")[2]))
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url, raising=False)
    weights = read_weights(name)
    assert weights.mean == (0.485, 0.456, 0.406)
    model = build_from(weights, "resnet18", 10, (32, 32), 0).eval()
    x = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (weights.mean, weights.std))
    torch.testing.assert_close(model(x), model.net((x - mean) / std), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(CPU.folded(model)(x), model(x), rtol=1e-3, atol=1e-4)


def test_densenets_saved_under_old_names_fit(tmp_path, monkeypatch):
    from torchvision.models import DenseNet121_Weights

    state = build("densenet121", 1000, (224, 224), 0).net.state_dict()
    old = {re.sub(r"(denselayer\d+\.)(norm|conv)([12])\.", r"\1\2.\3.", name): value for name, value in state.items()}
    assert old.keys() != state.keys()
    path = tmp_path / "hub" / "checkpoints" / "densenet121-0.pth"
    path.parent.mkdir(parents=True)
    torch.save(old, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(path.with_name(f"densenet121-{digest}.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(DenseNet121_Weights.IMAGENET1K_V1.value, "url", f"x/densenet121-{digest}.pth", raising=False)
    build_from(read_weights("DenseNet121_Weights.IMAGENET1K_V1"), "densenet121", 10, (224, 224), 0)
