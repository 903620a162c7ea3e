"""Compile `requirements/*.txt` from pyproject.toml: names, versions and hashes, no address of any index.

The docs' list of the images' packages is written anew with them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools import image_packages

FOLDER = Path("requirements")
LOCKS = {
    "dev.txt": ["--extra", "operator", "--extra", "workloads", "--extra", "kubectl", "--group", "dev"],
    "operator.txt": ["--extra", "operator"],
    "runtime.txt": [
        *("--extra", "workloads", "--extra", "notebook", "--extra", "iceberg", "--extra", "snowflake"),
    ],
    # The full image lies on top of the other one: what both have is the same.
    "runtime-full.txt": [
        *("--extra", "full", "--extra", "notebook", "--extra", "iceberg", "--extra", "snowflake"),
        *("--constraints", "requirements/runtime.txt"),
    ],
    "libraries.txt": [
        *("--extra", "operator", "--extra", "workloads", "--extra", "iceberg", "--extra", "snowflake"),
        *(
            "--extra",
            "notebook",
            "--extra",
            "torch",
            "--extra",
            "tensorflow",
            "--extra",
            "huggingface",
            "--group",
            "dev",
            "--group",
            "libraries",
        ),
    ],
    "uv.txt": ["--group", "bootstrap"],
    "build.txt": ["--group", "build"],
}
OPTIONS = [
    "--quiet",
    "--generate-hashes",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--python-version",
    "3.11",
]


def main() -> int:
    """Compile every lock; versions already locked stay unless pyproject.toml forbids them."""
    for name, selection in LOCKS.items():
        target = FOLDER / name
        command = [
            str(Path(sys.executable).parent / "uv"),
            "pip",
            "compile",
            "pyproject.toml",
            *selection,
            *OPTIONS,
        ]
        subprocess.run([*command, "--output-file", str(target)], check=True)
        print(f"  ✓ {target}")
    image_packages.PAGE.write_text(image_packages.page(FOLDER))
    print(f"  ✓ {image_packages.PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
