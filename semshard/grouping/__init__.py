"""Images without labels: groups of images that look alike, to stand for classes (experimental)."""

from .groups import Groups, group_images

__all__ = ["Groups", "group_images"]
