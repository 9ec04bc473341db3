"""Images without labels: groups of images that look alike, used as classes (experimental)."""

from .groups import Groups, group_images

__all__ = ["Groups", "group_images"]
