"""Tars as they are laid down for a source, and what it makes of them, in the forms that tests compare."""

import io
import tarfile


def tar(files, form=tarfile.PAX_FORMAT):
    """A tar of (name, bytes) pairs, or of ready headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files:
            header = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return out.getvalue()


def lay(folder, *tars):
    for i, files in enumerate(tars):
        (folder / f"{i:05d}.tar").write_bytes(files if isinstance(files, bytes) else tar(files))
    return str(folder / f"{{00000..{len(tars) - 1:05d}}}.tar")


def samples(*labels, extension="cls"):
    return [file for i, n in enumerate(labels) for file in ((f"{i}.png", b"p%d" % i), (f"{i}.{extension}", n))]


def entries(source):
    return [source.entry(number) for number in range(len(source))]


def label_names(source):
    return [None if entry.label is None else source.classes[entry.label] for entry in entries(source)]


def reasons(source):
    return [entry.reason for entry in entries(source)]


def rewrite(tar, change):
    """Write a tar anew, with each (header, data) passed through `change`, which may drop it by returning None."""
    with tarfile.open(tar) as old:
        entries = [(entry, old.extractfile(entry).read()) for entry in old]
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:
        for entry, data in entries:
            changed = change(entry, data)
            if changed:
                changed[0].size = len(changed[1])
                new.addfile(changed[0], io.BytesIO(changed[1]))
