"""Which framework made a model's file, by its first bytes; never by running anything of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from mlpools.errors import ModelUnreadable
from mlpools.inference.settings import Framework

_HEAD_BYTES = 4096
#: Of a pickle from protocol 2 on, and of joblib's compressed ones.
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x78\x9c", b"\x78\xda", b"\x78\x01")
#: Fields of ONNX's ModelProto that may follow its first one, the version, as protocol buffers tag them.
_ONNX_FIELDS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42})


def detect(path: Path) -> Framework:
    """Return the framework of a model.

    Raises:
        ModelUnreadable: it is of no known kind, or of one that runs code when it is loaded.
    """
    if path.is_dir():
        return _of_folder(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ModelUnreadable(f"{path.name} is empty: was the model written to its end?")
    if zipfile.is_zipfile(path):
        return _of_archive(path)
    if head.startswith(_PICKLES):
        raise ModelUnreadable(
            f"{path.name} is a pickle, and loading one runs code that is in it. Save the model with skops, "
            "or, if you trust the file, set model.framework to sklearn and model.params.allowPickle to true."
        )
    if head.startswith(b"tree\n"):
        return "lightgbm"
    if _is_xgboost(head):
        return "xgboost"
    if len(head) > 2 and head[0] == 0x08 and head[2] in _ONNX_FIELDS:
        return "onnx"
    raise ModelUnreadable(
        f"What kind of model {path.name} is cannot be told from its content: say it in model.framework."
    )


def recognized(path: Path) -> Framework | None:
    """Return the framework of a model, or None if its content does not tell."""
    try:
        return detect(path)
    except ModelUnreadable:
        return None


def onnx_file(folder: Path) -> Path | None:
    """Return the one ONNX file of a folder; its external data lies beside it."""
    found = sorted(folder.glob("*.onnx"))
    return found[0] if len(found) == 1 else None


def _of_folder(path: Path) -> Framework:
    if onnx_file(path) is not None:
        return "onnx"
    names = ", ".join(sorted(entry.name for entry in path.iterdir())[:5])
    raise ModelUnreadable(
        f"The folder {path.name} ({names}) is no model of a known kind: name the file in model.url, or say "
        "what it is in model.framework."
    )


def _is_xgboost(head: bytes) -> bool:
    """Whether a file is a model in XGBoost's binary or plain JSON."""
    return (head.startswith(b"{L") and b"learner" in head[:64]) or (
        head.lstrip().startswith(b"{") and b'"learner"' in head
    )


def _of_archive(path: Path) -> Framework:
    """Tell skops from PyTorch's kinds: all are zip archives."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "schema.json" in names and "__loader__" in json.loads(archive.read("schema.json")):
            return "sklearn"
    if any(name.endswith(("/data.pkl", "/version", "archive_format")) for name in names):
        return "pytorch"
    raise ModelUnreadable(f"{path.name} is a zip archive, but neither of skops nor of PyTorch.")
