"""The images of this repository, built on this machine and packed so that a change of code costs seconds.

    built = images.build()                     # {"operator": Archive, "runtime": Archive}
    built["runtime"].paths                     # what to import into a containerd, in this order
    python -m tools.images                     # the same by hand

An image is an archive of dependencies, which changes with a lock file, and an archive of code on top
of it, some hundred kilobytes.
"""

from tools.images.archive import Archive
from tools.images.pipeline import build, version

__all__ = ["Archive", "build", "version"]
