"""`python -m tools.images [operator|runtime|runtime-full …]`: build images and say where they are."""

from __future__ import annotations

import sys

from tools import images
from tools.steps import told


def main(arguments: list[str]) -> int:
    """Build what is named, or the usual ones, and print each image's name and archives."""
    with told():
        for archive in images.build(*arguments).values():
            print(archive.reference)
            for path in archive.paths:
                print(f"    {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
