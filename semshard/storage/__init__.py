"""Where files lie: a local folder or an object store, with one rule of publication."""

from .attempts import Limits
from .fetched import FetchedFolder, Folder, LocalFolder, fetch_file, open_folder
from .local import LocalPlace
from .objects import ObjectPlace
from .opened import open_place
from .place import Content, Entry, Place, Remark, check_name, is_remote, local_path
from .publication import Part, publish

__all__ = [
    "Content",
    "Entry",
    "FetchedFolder",
    "Folder",
    "Limits",
    "LocalPlace",
    "ObjectPlace",
    "LocalFolder",
    "Part",
    "Place",
    "Remark",
    "check_name",
    "fetch_file",
    "is_remote",
    "local_path",
    "open_folder",
    "open_place",
    "publish",
]
