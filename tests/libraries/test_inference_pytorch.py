"""Models of PyTorch in each of their forms: they answer as without us, and their files run no code."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from mlpools.errors import ModelMismatch, ModelUnreadable
from mlpools.inference.models import Given, load
from mlpools.inference.models.base import Model
from mlpools.inference.models.detect import detect
from mlpools.inference.settings import ModelSpec

X = np.random.default_rng(0).random((50, 3)).astype(np.float32)
ROWS = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "text": ["x"] * 50})


class Net(nn.Module):
    """A small network with two answers."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Linear(width, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows).softmax(1)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    """A network without dropout, whose class jobs find as ``nets:Net``."""
    torch.manual_seed(0)
    module = types.ModuleType("nets")
    module.Net = Net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nets", module)
    return Net().eval()


def loaded(path: Path, features: Sequence[str] = ("a", "b", "c"), **spec: Any) -> Model:
    return load(Given(ModelSpec(str(path), **spec), path, ROWS.schema, features, threads=1))


def check(model: Model, net: nn.Module, tolerance: float = 1e-6) -> None:
    with torch.inference_mode():
        expected = net(torch.from_numpy(X)).numpy()
    [found] = model.predict(ROWS).values()
    assert found.type.list_size == 2
    assert np.allclose(np.array(found.flatten()).reshape(-1, 2), expected, atol=tolerance)


def exported(net: Net, path: Path, **files: str) -> None:
    rows = torch.export.Dim("rows")
    program = torch.export.export(net, (torch.zeros(2, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, path, extra_files=files)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_needs_nothing_but_its_columns(net: Net, tmp_path: Path) -> None:
    torch.jit.script(net).save(tmp_path / "m.pt")
    assert detect(tmp_path / "m.pt") == "pytorch"
    check(loaded(tmp_path / "m.pt"), net)
    with pytest.raises(ModelMismatch, match="does not name its features"):
        loaded(tmp_path / "m.pt", features=())
    with pytest.raises(ModelMismatch, match="Column 'text' is string"):
        loaded(tmp_path / "m.pt", features=("a", "b", "text"))


def test_an_exported_program_takes_any_number_of_rows(net: Net, tmp_path: Path) -> None:
    exported(net, tmp_path / "m.pt2")
    assert detect(tmp_path / "m.pt2") == "pytorch"
    check(loaded(tmp_path / "m.pt2"), net)
    with pytest.raises(ModelMismatch, match="learned from 3 features, but 2 are given: a, b"):
        loaded(tmp_path / "m.pt2", features=("a", "b"))


def test_a_program_for_one_number_of_rows_is_tried_with_that(net: Net, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (torch.zeros(50, 3),)), tmp_path / "m.pt2")
    check(loaded(tmp_path / "m.pt2"), net)


NAMES = '["a", "b", "c"]'


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", ["script", "program", "weights"])
def test_a_file_that_names_its_features_needs_no_list(net: Net, tmp_path: Path, form: str) -> None:
    path, spec = tmp_path / "m.pt", {}
    if form == "script":
        torch.jit.save(torch.jit.script(net), path, _extra_files={"feature_names": NAMES})
    elif form == "program":
        exported(net, path, feature_names=NAMES)
    else:
        torch.save({"state_dict": net.state_dict(), "feature_names": ["a", "b", "c"]}, path)
        spec = {"entrypoint": "nets:Net"}
    model = loaded(path, features=(), **spec)
    assert model.columns == ["a", "b", "c"]
    check(model, net)
    with pytest.raises(ModelMismatch, match="it also needs 'c' and it has not learned from 'text'"):
        loaded(path, features=("a", "b", "text"), **spec)
    given = Given(ModelSpec(str(path), **spec), path, pa.schema({"a": pa.float32()}), (), threads=1)
    with pytest.raises(ModelMismatch, match="The feature 'b' of the PyTorch model is not in the input"):
        load(given)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_features_too_many_or_too_few_are_seen_before_the_first_row(net: Net, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "m.pt")
    torch.jit.script(net).save(tmp_path / "s.pt")
    for path, spec in ((tmp_path / "m.pt", {"entrypoint": "nets:Net"}), (tmp_path / "s.pt", {})):
        with pytest.raises(ModelMismatch, match=r"rows of 2 features as torch.float32: .*\(2x2 and 3x4\)\. "):
            loaded(path, features=("a", "b"), **spec)


def test_names_that_are_no_list_are_no_names(net: Net, tmp_path: Path) -> None:
    exported(net, tmp_path / "m.pt2", feature_names="a, b, c")
    with pytest.raises(ModelUnreadable, match="feature_names in the file of the PyTorch model is no list"):
        loaded(tmp_path / "m.pt2", features=())


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_alone_need_who_makes_their_module(net: Net, tmp_path: Path, wrapped: bool) -> None:
    state: dict[str, Any] = net.state_dict()
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "m.pt")
    with pytest.raises(ModelUnreadable, match=r"weights alone: name .* model\.entrypoint"):
        loaded(tmp_path / "m.pt")
    check(loaded(tmp_path / "m.pt", entrypoint="nets:Net"), net)
    with pytest.raises(ModelUnreadable, match="size mismatch"):
        loaded(tmp_path / "m.pt", entrypoint="nets:Net", params={"arguments": {"width": 8}})


def test_the_type_of_the_numbers_is_the_users_to_say(net: Net, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelMismatch, match=r"rows of 3 features as torch\.float64"):  # the weights are not
        loaded(tmp_path / "m.pt", entrypoint="nets:Net", params={"dtype": "float64"})
    with pytest.raises(ModelMismatch, match=r"model\.params\.dtype is 'single'"):
        loaded(tmp_path / "m.pt", entrypoint="nets:Net", params={"dtype": "single"})


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it was loaded",))

    torch.save({"layers": Trap()}, tmp_path / "m.pt")
    with pytest.raises(ModelUnreadable, match="cannot be loaded as a model of pytorch"):
        loaded(tmp_path / "m.pt", entrypoint="nets:Net")
