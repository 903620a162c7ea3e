"""A round on two made-up rows: what LightGBM refuses or ignores shows before the gang forms."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import lightgbm as lgb
import numpy as np

from mlpools.data.columns import Columns
from mlpools.errors import BadHyperParameter, DataNotReadable, JobError, PeerLost, at_hand
from mlpools.train.lightgbm.parameters import Parameters

_REFUSALS = (lgb.basic.LightGBMError, ValueError, TypeError)
_NETWORK = re.compile(r"[Ss]ocket|[Cc]onnect|Binding port|recv|send|machine list|linkers")
_ABOUT_DATA = re.compile(r"label|weight|\bNaN\b|\binf\b", re.IGNORECASE)
#: Warnings that mean that something else is trained than was asked for.
_IGNORED = re.compile(r"Unknown parameter:? (?P<unknown>\S+)|(?P<other>.*will be ignored.*|.*auto set to.*)")


def rehearse(parameters: Parameters, columns: Columns) -> None:
    """Train one round on two rows.

    LightGBM only warns about a parameter that it does not know, and trains without it.

    Raises:
        BadHyperParameter: LightGBM refuses, does not know or cannot honour a parameter.
        DataNotReadable: it refuses the columns.
    """
    try:
        _two_rows({"verbosity": -1}, columns)
    except _REFUSALS as error:  # such as names with brackets
        raise DataNotReadable(f"LightGBM refuses the columns: {plain(error)}.") from error
    _check_monotone(parameters, columns)
    booster = {**parameters.booster, "verbosity": 0}
    with _heard() as lines:
        try:
            model = _one_round(booster, columns)
        except _REFUSALS as error:
            name = _guilty(booster, columns)
            which = f"the parameter {name!r}" if name else "the parameters"
            raise BadHyperParameter(f"LightGBM refuses {which}: {plain(error)}.") from error
    for line in lines:
        found = _IGNORED.search(line)
        if found and found["unknown"]:
            known = re.findall(r"^\[(\w+):", model.model_to_string(), re.MULTILINE)
            hint = at_hand(found["unknown"], known, "Parameters")
            raise BadHyperParameter(f"LightGBM does not know the parameter {found['unknown']!r}. {hint}")
        if found:
            raise BadHyperParameter(f"LightGBM would not do what the parameters say: {plain(line)}.")


def _check_monotone(parameters: Parameters, columns: Columns) -> None:
    """Refuse constraints that do not fit the columns; with those of categories LightGBM ends the process."""
    given = parameters.booster.get("monotone_constraints") or []
    signs = [int(sign) for sign in (given.split(",") if isinstance(given, str) else given)]
    if signs and len(signs) != len(columns.features):
        raise BadHyperParameter(
            f"monotone_constraints has {len(signs)} numbers for {len(columns.features)} features; give one "
            f"for each of {', '.join(columns.features[:20])}, in this order."
        )
    for name, sign in zip(columns.features, signs, strict=False):
        if sign and name in columns.categorical:
            raise BadHyperParameter(
                f"monotone_constraints: {name!r} has categories, which have no order; give 0 for it."
            )


def translate(error: lgb.basic.LightGBMError) -> JobError:
    """Return what an error of LightGBM's means: a lost peer, unusable data, or a bad parameter."""
    if _NETWORK.search(str(error)):
        return PeerLost("Another rank does not answer any more.")
    kind = DataNotReadable if _ABOUT_DATA.search(plain(error)) else BadHyperParameter
    return kind(f"LightGBM: {plain(error)}.")


def plain(error: Exception | str) -> str:
    """Return an error of LightGBM's as one clause without places in its source."""
    text = re.sub(r"\[LightGBM\] \[\w+\] ", "", str(error))
    return " ".join(re.sub(r" at \S+, line \d+", "", text).split()).rstrip(" .")[:500]


class _Log:
    """Takes LightGBM's lines; they go to the job's log unless somebody listens.

    All of them come as ``info``, those of the Python package may come as ``warning``.
    """

    def __init__(self) -> None:
        self.heard: list[str] | None = None

    def info(self, text: str) -> None:
        if self.heard is None:
            print(text)  # noqa: T201
        else:
            self.heard.append(text)

    warning = info


_LOG = _Log()


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    lgb.register_logger(_LOG)
    heard: list[str] = []
    _LOG.heard = heard
    try:
        yield heard
    finally:
        _LOG.heard = None


def _two_rows(parameters: Mapping[str, Any], columns: Columns) -> lgb.Dataset:
    return lgb.Dataset(
        np.zeros((2, len(columns.features))),
        label=np.ones(2),
        group=[2] if columns.group else None,
        feature_name=list(columns.features),
        categorical_feature=[columns.features.index(name) for name in columns.categorical],
        params=dict(parameters),
    ).construct()


def _one_round(parameters: Mapping[str, Any], columns: Columns) -> lgb.Booster:
    booster = lgb.Booster(dict(parameters), _two_rows(parameters, columns))
    booster.update()
    booster.eval_train()
    return booster


def _guilty(parameters: Mapping[str, Any], columns: Columns) -> str:
    """Return the parameter without which all is well: LightGBM's messages often do not name it."""
    for name in parameters:
        try:
            _one_round({key: value for key, value in parameters.items() if key != name}, columns)
        except _REFUSALS:
            continue
        return name
    return ""
