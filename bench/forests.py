"""The models of the inference benchmark: 100 trees of depth 6, made once, kept under ``.state/bench``."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import higgs
from bench.higgs import FEATURES, FOLDER, LABEL, paths
from tests.support import onnx_files

TREES, DEPTH = 100, 6
_TRAINING_ROWS = 125_000


def make() -> dict[str, Path]:
    """Train the models, unless they are there; return the file of each framework."""
    files = {
        "xgboost": FOLDER / "forest.ubj",
        "lightgbm": FOLDER / "forest.txt",
        "onnx": FOLDER / "forest.onnx",
    }
    makers: dict[str, Callable[[Path], None]] = {
        "xgboost": _xgboost,
        "lightgbm": _lightgbm,
        "onnx": lambda path: _onnx(files["xgboost"], path),
    }
    for framework, path in files.items():
        if not path.exists():
            making = path.with_stem(f".{path.stem}-{os.getpid()}")
            makers[framework](making)
            making.rename(path)
    return files


def _training_rows() -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(paths(higgs.make())[0]).read_row_group(0).slice(0, _TRAINING_ROWS)


def _xgboost(path: Path) -> None:
    import xgboost as xgb

    rows = _training_rows()
    matrix = xgb.QuantileDMatrix(rows.select(FEATURES), label=rows.column(LABEL))
    params = {"objective": "binary:logistic", "max_depth": DEPTH, "eta": 0.1}
    xgb.train(params, matrix, TREES).save_model(path)


def _lightgbm(path: Path) -> None:
    import lightgbm as lgb

    rows = _training_rows()
    data = lgb.Dataset(rows.select(FEATURES), label=rows.column(LABEL))
    params = {"objective": "binary", "num_leaves": 1 << DEPTH, "max_depth": DEPTH, "verbosity": -1}
    lgb.train(params, data, TREES).save_model(path)


def _onnx(booster_file: Path, path: Path) -> None:
    """Write XGBoost's trees as ONNX's operator for them, by hand: a converter is a large library."""
    import xgboost as xgb

    booster = xgb.Booster(model_file=booster_file)
    config = json.loads(booster.save_config())
    start = float(config["learner"]["learner_model_param"]["base_score"].strip("[]"))
    nodes = [
        node
        for tree, text in enumerate(booster.get_dump(dump_format="json"))
        for node in _nodes(tree, json.loads(text))
    ]
    path.write_bytes(_ensemble(nodes, start))


@dataclasses.dataclass(frozen=True)
class _Node:
    """Of a tree: the rows with a feature below a value go on at ``yes``, the missing too if it says so."""

    tree: int
    number: int
    value: float
    feature: int = 0
    yes: int = 0
    no: int = 0
    missing_yes: bool = False
    leaf: bool = False


def _nodes(tree: int, node: dict[str, Any]) -> Iterator[_Node]:
    if "leaf" in node:
        yield _Node(tree, node["nodeid"], node["leaf"], leaf=True)
        return
    yield _Node(
        tree,
        node["nodeid"],
        node["split_condition"],
        FEATURES.index(node["split"]),
        node["yes"],
        node["no"],
        node["missing"] == node["yes"],
    )
    for child in node["children"]:
        yield from _nodes(tree, child)


def _ensemble(nodes: list[_Node], probability: float) -> bytes:
    """Return ONNX's ``TreeEnsembleRegressor`` of the trees' sum; see its operators of ``ai.onnx.ml``."""
    leaves = [node for node in nodes if node.leaf]
    attributes: dict[str, Any] = {
        "nodes_treeids": [node.tree for node in nodes],
        "nodes_nodeids": [node.number for node in nodes],
        "nodes_featureids": [node.feature for node in nodes],
        "nodes_modes": ["LEAF" if node.leaf else "BRANCH_LT" for node in nodes],
        "nodes_values": [0.0 if node.leaf else float(node.value) for node in nodes],
        "nodes_truenodeids": [node.yes for node in nodes],
        "nodes_falsenodeids": [node.no for node in nodes],
        "nodes_missing_value_tracks_true": [int(node.missing_yes) for node in nodes],
        "target_treeids": [node.tree for node in leaves],
        "target_nodeids": [node.number for node in leaves],
        "target_ids": [0 for _ in leaves],
        "target_weights": [float(node.value) for node in leaves],
        "base_values": [math.log(probability / (1 - probability))],
        "n_targets": 1,
    }
    node = onnx_files.operator("TreeEnsembleRegressor", ["X"], "Y", attributes, domain="ai.onnx.ml")
    return onnx_files.model(
        node, {"X": ["N", len(FEATURES)]}, {"Y": ["N", 1]}, domains={"": 11, "ai.onnx.ml": 1}
    )
