"""The generated files: that the committed ones are up to date, and what stands in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from mlpools_operator.api.v1alpha1 import KINDS, Kind
from mlpools_operator.crdgen import __main__ as program
from mlpools_operator.crdgen.__main__ import files, main, outdated, write
from mlpools_operator.crdgen.crd import MAX_BYTES, definition, manifest, template
from mlpools_operator.crdgen.docs import page
from mlpools_operator.crdgen.schema import walk

ROOT = Path(__file__).parents[3]
EACH_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def test_committed_files_are_what_the_models_say() -> None:
    assert outdated(ROOT) == [], "run `make generate` and commit the result"


def test_check_names_what_differs_is_missing_or_is_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["crdgen", "--check", "--root", str(tmp_path)])
    monkeypatch.setattr(program, "files", cache(files))  # what is made of the models takes two seconds
    assert main() == 1
    assert sorted(write(tmp_path)) == sorted(files())
    assert main() == 0
    capsys.readouterr()
    changed, removed, foreign = (
        "crds/mlpools.dev_computepools.yaml",
        "docs/reference/trainingjob.md",
        "crds/old.yaml",
    )
    (tmp_path / changed).write_text("kind: Nothing\n")
    (tmp_path / removed).unlink()
    (tmp_path / foreign).write_text("kind: Old\n")
    assert main() == 1
    refusal = capsys.readouterr().err
    assert all(path in refusal for path in (changed, removed, foreign))
    assert "make generate" in refusal
    write(tmp_path)
    assert outdated(tmp_path) == []
    assert not (tmp_path / foreign).exists()


@EACH_KIND
def test_a_crd_is_small_enough_for_client_side_apply(kind: Kind) -> None:
    assert len(manifest(kind).encode()) <= MAX_BYTES


@EACH_KIND
def test_the_charts_copy_is_the_crd_and_survives_uninstalling(kind: Kind) -> None:
    lines = template(kind).splitlines()
    assert lines[1] == "{{- if .Values.crds.enabled }}"
    assert lines[-1] == "{{- end }}"
    body = "\n".join(lines[2:-1])
    assert "{{" not in body.replace('{{ "{{" }}', "")
    crd = yaml.safe_load(body.replace('{{ "{{" }}', "{{"))
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd == definition(kind)


def test_braces_in_a_text_do_not_reach_helm(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["ComputePool"]
    monkeypatch.setattr(
        "mlpools_operator.crdgen.crd.definition", lambda _: {"metadata": {}, "rule": "a{{b}}"}
    )
    assert 'rule: a{{ "{{" }}b}}' in template(kind)


@EACH_KIND
def test_a_crd_has_what_kubectl_shows(kind: Kind) -> None:
    spec = definition(kind)["spec"]
    assert spec["names"]["categories"] == ["mlpools"]
    version = spec["versions"][0]
    assert version["subresources"]["status"] == {}
    assert ("scale" in version["subresources"]) == (kind.scale is not None)
    schema = version["schema"]["openAPIV3Schema"]
    known = {path for path, _ in walk(schema, "")} | {"metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        assert column["jsonPath"].removeprefix(".") in known, column


@EACH_KIND
def test_the_page_tells_every_field_and_every_message(kind: Kind) -> None:
    text = page(kind)
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in walk(schema["properties"]["spec"], "spec"):
        assert path.endswith(("[]", ".*")) or f"`{path.rpartition('.')[2]}`" in text or path == "spec"
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"] in text
    columns = {line.count(" | ") for line in text.splitlines() if line.startswith("| `spec")}
    assert len(columns) == 1, "a bar inside a cell is not escaped"
