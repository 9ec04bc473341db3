"""What README.md and croissant.json say of a manifest, in sentences that are true for every collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings import levels, parse_radius
from .statement import Statement

Manifest = Mapping[str, Any]

FAINT = 16  # grey levels of noise that people hardly see

CITATION = (
    "Yixin Liu, Kaidi Xu, Xun Chen, Lichao Sun: Stable Unlearnable Example: Enhancing the Robustness of Unlearnable "
    "Examples via Stable Error-Minimizing Noise. AAAI 2024."
)
_METHODS = {
    "sem": "stable error-minimising noise (SEM; Liu et al. 2024)",
    "rem": "robust error-minimising noise (REM; Fu et al. 2022)",
    "rem-u": "robust error-minimising noise, robust in the noise step only (Fu et al. 2022)",
    "rem-theta": "robust error-minimising noise, robust in the model step only (Fu et al. 2022)",
    "em": "error-minimising noise (EM; Huang et al. 2021)",
    "em-aligned": "error-minimising noise, made on the image itself (EM; Huang et al. 2021)",
    "tap": "targeted adversarial poisoning (TAP; Fowl et al. 2021)",
    "push": "noise away from the class, for a network trained adversarially on the originals",
    "ntga": "the neural tangent generalisation attack (NTGA; Yuan and Wu 2021)",
    "sc": "synthesised shortcuts (SC; Yu et al. 2022)",
}
_METADATA = {
    "none": "No metadata of the original files is published: no EXIF, XMP, GPS position, colour profile or file name.",
    "icc": "Of the metadata of the original files only colour profiles are published.",
    "rights": "Of the metadata of the original files is published what it says about rights: creator, copyright, "
    "licence, credit, data mining.",
    "all": "EXIF and XMP of the original files are published, too; they may name people, places and devices.",
}
_FORMATS = {"png": "PNG, lossless", "webp": "WebP, lossless"}


def title(manifest: Manifest, statement: Statement) -> str:
    """That of the owner, or one that names the size."""
    counts = manifest["counts"]
    return statement.title or f"{counts['samples']:,} protected images in {len(manifest['classes']):,} classes"


def summary(manifest: Manifest) -> list[str]:
    """What this is, in two or three sentences."""
    counts = manifest["counts"]
    kind = "groups that look alike" if manifest["labels"]["from"] == "groups" else "classes"
    faint = "people hardly see and that " if levels(parse_radius(manifest["settings"]["rho_u"])) <= FAINT else ""
    return [
        f"{counts['samples']:,} images in {len(manifest['classes']):,} {kind}, with noise that {faint}is meant to "
        "leave a classifier little to learn.",
        "The originals are not part of this collection.",
    ]


def noise(manifest: Manifest) -> str:
    """How the noise was made."""
    settings = manifest["settings"]
    name, plugins = _METHODS.get(settings["method"]), manifest.get("plugins", [])
    if plugins:
        name = " and ".join(f"noise of the package {each['package']} {each['version']}" for each in plugins)
    elif name is None:
        name = f"error-minimising noise (noise step {settings['noise_step']}, model step {settings['model_step']})"
    parts = [f"Method {settings['method']}: {name}"]
    if "network" in settings:
        parts.append(f"a surrogate {settings['network']} of {settings['steps']:,} steps")
    if "rho_a" in settings:
        parts.append(f"against adversarial training at {settings['rho_a']}")
    if "views" in settings:
        views = settings["views"]
        parts.append(f"views {views if isinstance(views, str) else ', '.join(views)}")
    return "; ".join(parts)


def budget(manifest: Manifest) -> str:
    """The bound on the noise, and what was found."""
    most, found = levels(parse_radius(manifest["settings"]["rho_u"])), manifest["noise"]
    psnr = f"mean PSNR {found['psnr_mean']:.2f} dB"
    if manifest["settings"]["format"] == "jpeg":
        return (
            f"The noise is at most {most} of 255 grey levels before the images are written as JPEG, which changes them "
            f"further: the largest change of a channel of a pixel in the files is {found['linf_max']}; {psnr}."
        )
    return (
        f"No channel of any pixel was changed by more than {most} of 255 grey levels; the largest change found is "
        f"{found['linf_max']}; {psnr}."
    )


def preprocessing(manifest: Manifest) -> list[str]:
    """What was done besides the noise."""
    settings, image = manifest["settings"], manifest["image"]
    size = "Every image has the size of its original."
    if settings["resolution"]:
        size = f"The short side was resized to {settings['resolution']} pixels and the centre square cropped."
    elif image["sizes"] == "one":
        size = f"Every image has {image['width']} × {image['height']} pixels, as its original has."
    written = _FORMATS.get(settings["format"]) or f"JPEG of quality {settings['quality']}, which is not lossless"
    return [f"Files were decoded to 8-bit RGB. {size}", f"Images are written as {written}."]


def metadata(manifest: Manifest) -> str:
    """What is published of the originals besides pixels and labels."""
    keep, carried = manifest["settings"]["keep_metadata"], manifest["fields"]["carried"]
    text = _METADATA.get(keep, f"Of the metadata of the original files is published what the setting {keep} keeps.")
    if carried:
        text += f" Fields that the source's samples had are published unchanged: {', '.join(carried)}."
    return f"{text} The pictures themselves were not searched for people or personal data."


def verdict(verified: Mapping[str, Any] | None) -> str:
    """What a verification found."""
    if verified is None:
        return "No verification was added, so nothing here says what is learnt from these very images."
    return str(verified["verdict"]["sentence"])


def limits(manifest: Manifest) -> list[str]:
    """What the noise does not do, a sentence or two for each point."""
    radius = manifest["settings"]["rho_u"]
    points = [
        "The noise is made against classifiers that are trained on these images from the start. It is not made against "
        "generative models, and was not tried on them.",
        "Whoever changes the pictures before training, or brings features that were learnt from other images, may undo "
        "it. In semshard's own measurements on CIFAR-10 (10,000 images, small networks, no adversary), of what the "
        "originals teach above chance SEM left 95 % to victims that look at grey pictures, 58 % after strong JPEG "
        "compression, and 87 % to a linear probe on weights from other photographs. With its views hardened it lost "
        "little to grey pictures and JPEG, but left nearly everything to JPEG combined with adversarial training at "
        "half the budget. Nothing measured there withstands everything.",
        f"Adversarial training at a radius of {radius} or more bounds what any noise of this size can do (Tao et al. "
        "2021).",
        "It does nothing for copies that are published without it. Where only a part of a collection is protected, the "
        "rest still teaches.",
        "A host that scales or recompresses the pictures changes the noise, too: publish the files as they are.",
        "It hides nothing from people, and does not tell who used the images.",
    ]
    if manifest["labels"]["from"] == "groups":
        points.append(
            "The images had no labels. The noise is made for groups that look alike, which is experimental: somebody "
            "who trains with other labels may learn more."
        )
    return points
