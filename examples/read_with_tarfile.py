"""Read shards with the standard library and Pillow: nothing of semshard is needed.

python examples/read_with_tarfile.py shards
"""

import json
import sys
import tarfile
from pathlib import Path

from PIL import Image


def main(shards: str) -> None:
    count = 0
    for path in sorted(Path(shards).glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                key, extension = entry.name.split(".")
                file = tar.extractfile(entry)
                if extension == "cls":
                    label = int(file.read())
                elif extension == "json":
                    about = json.load(file)
                elif extension == "png":
                    image = Image.open(file).convert("RGB")
                    if count == 0:
                        print(key, label, about["class"], image.size)
                    count += 1
    print(f"{count} images")


if __name__ == "__main__":
    main(sys.argv[1])
