"""`python -m tools.images [operator|runtime|all]`: build the images and say where they are."""

from __future__ import annotations

import sys

from tools import images
from tools.steps import told


def main(arguments: list[str]) -> int:
    """Build what is named and print each image's name and archives."""
    with told():
        for target in arguments or ["all"]:
            for archive in images.build(target).values():
                print(archive.reference)
                for path in archive.paths:
                    print(f"    {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
