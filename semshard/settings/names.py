"""Names that settings can have as values, and the cells of the paper's Table 7."""

from __future__ import annotations

LARGE = 64  # pixels: a collection whose longer side is above this is treated like photographs
Size = tuple[int, int] | None  # (height, width) of every image; None for photographs, each of its own

PRESETS = ("paper", "medium", "quick")
SCHEDULES = ("step", "one-cycle")  # of the learning rate
MOST_SEED = 1 << 62  # torch takes 64 bits, and other seeds are counted on from it
PRECISIONS = ("float32", "bfloat16")
PERTURBATIONS = ("none", "random", "pgd")  # of a view, within a noise step or a model step

# The grid of the paper's Table 7. Per method: what perturbs a view in the noise step, what perturbs it in the model
# step, and the views of the noise step: the model's, none, or, with "first", a view that comes before the noise.
CELLS = {
    "sem": ("random", "pgd", "same"),
    "rem": ("pgd", "pgd", "same"),
    "rem-u": ("pgd", "none", "same"),
    "rem-theta": ("none", "pgd", "same"),
    "em": ("none", "none", "first"),
    "em-aligned": ("none", "none", "none"),
    "push": ("random", "pgd", "same"),  # the perturbations of SEM, around clean images
}
ANY_CELL = "cell"  # the method's name where --noise-step and --model-step ask for a cell without one
CELL_SETTINGS = ("noise_step", "model_step", "noise_views")
NO_LIST = (("same",), ("none",), ("first",))  # values of noise_views that are not a list of their own

NO_NETWORK = ("ntga", "sc")  # methods that train no surrogate
OUTSIDE_GRID = ("tap", *NO_NETWORK)  # methods that are no cell of Table 7
CLEAN_SURROGATE = ("tap", "push")  # methods whose network learns from clean images, and meets the noise at the end
METHODS = (*CELLS, ANY_CELL, *OUTSIDE_GRID)

# Those that end in -paper are built as in the code of the paper's authors, where that differs.
NETWORKS = (
    "resnet18", "resnet50", "vgg16", "densenet121", "wrn34-10", "vit", "small", "resnet9",
    "resnet18-paper", "vgg16-paper", "densenet121-paper", "wrn34-10-paper",
)  # fmt: skip
# Of a victim: fresh weights; given weights with only a new head trained; given weights, all trained.
STARTS = ("scratch", "probe", "full")
# What people do to pictures, or to a training, to get rid of noise. `semshard countermeasures` explains each.
COUNTERMEASURES = (
    "none", "mean", "median", "gaussian", "grey", "jpeg-10", "jpeg-50", "jpeg-75", "bits-2", "bits-4", "resize",
    "grey+jpeg-10", "jpeg-10+gaussian", "normalise", "equalise",
    "cutout", "mixup", "cutmix", "erasing", "ueraser", "noise", "early-stop",
    "ueraser-max", "refit", "denoise", "counter-noise", "simclr",
)  # fmt: skip
NO_ADVERSARY = ("simclr",)  # countermeasures that train without labels, which an adversary would need
ALL = "all"  # among choices of a list: every one
LISTED = "listed"  # attackers that are listed one by one, not a set with a name

KEEP = ("none", "icc", "rights", "all")  # of the metadata of a picture file
# What --reserve states: the key of PLUS's vocabulary of data mining, without the address in front.
VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
RESERVATIONS = {
    "none": "",
    "ai-training": "DMI-PROHIBITED-AIMLTRAINING",
    "generative-ai": "DMI-PROHIBITED-GENAIMLTRAINING",
    "all": "DMI-PROHIBITED",
}
FORMATS = ("png", "jpeg", "webp")


def cell_of(noise_step: str, model_step: str, noise_views: tuple[str, ...]) -> tuple[str, str, str]:
    """The cell of Table 7, which says whether the noise step has views, not which."""
    return noise_step, model_step, noise_views[0] if noise_views in NO_LIST else "same"
