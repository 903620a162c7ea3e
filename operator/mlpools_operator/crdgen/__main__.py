"""The command ``python -m mlpools_operator.crdgen [--check]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlpools_operator.api.v1alpha1 import GROUP, KINDS
from mlpools_operator.crdgen.crd import SchemaError, manifest, template
from mlpools_operator.crdgen.docs import page


def files() -> dict[str, str]:
    """Return all generated files: path from the repository's root -> text.

    Raises:
        SchemaError: a model cannot be expressed as a CRD.
    """
    texts = {}
    for kind in KINDS.values():
        texts[f"crds/{GROUP}_{kind.plural}.yaml"] = manifest(kind)
        texts[f"charts/mlpools/templates/crds/{kind.plural}.yaml"] = template(kind)
        texts[f"docs/reference/{kind.name.lower()}.md"] = page(kind)
    return texts


def outdated(root: Path) -> list[str]:
    """Return the generated files under ``root`` that are not what the models say, or that no model makes."""
    texts = files()
    wrong = [path for path, text in texts.items() if not _holds(root / path, text)]
    folders = {str(Path(path).parent) for path in texts}
    there = (str(file.relative_to(root)) for folder in folders for file in (root / folder).glob("*.*"))
    return sorted([*wrong, *(path for path in there if path not in texts)])


def write(root: Path) -> list[str]:
    """Write the generated files that differ, delete those without a model, and return their paths."""
    changed, texts = outdated(root), files()
    for path in changed:
        target = root / path
        if path in texts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(texts[path], encoding="utf-8")
        else:
            target.unlink()
    return changed


def main() -> int:
    """Run the command; exit code 1 if a file is out of date or a model cannot be expressed."""
    parser = argparse.ArgumentParser(prog="python -m mlpools_operator.crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is out of date")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="repository root (default: here)")
    arguments = parser.parse_args()
    try:
        changed = outdated(arguments.root) if arguments.check else write(arguments.root)
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if arguments.check and changed:
        sys.stderr.write(f"Out of date: {', '.join(changed)}. Run `make generate` and commit the result.\n")
        return 1
    lines = [f"Wrote {path}." for path in changed] or ["All generated files are up to date."]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
