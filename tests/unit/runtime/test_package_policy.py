"""The policy on packages, which the operator and the pods share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.refusals import package_name, package_refusal, package_refusals, required_package

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True)
patterns = st.lists(names | names.map(lambda it: f"{it}*") | st.sampled_from(["*", "?*"]), max_size=4)


@given(names, patterns, patterns)
def test_what_is_blocked_is_refused_whatever_is_allowed(
    name: str, allow: list[str], block: list[str]
) -> None:
    assert package_refusal(name, allow, [*block, name])
    assert package_refusal(name, [], block)
    refused = package_refusal(name, allow, block)
    assert refused or not package_refusal(name, [*allow, "*"], [])
    assert package_refusal(name, ["*"], []) is None


@given(names, patterns, patterns, st.sampled_from("-_."))
def test_spelling_gets_around_nothing(name: str, allow: list[str], block: list[str], sign: str) -> None:
    for other in (name.upper(), package_name(name), package_name(name).replace("-", sign)):
        assert package_refusal(other, allow, block) == package_refusal(name, allow, block)


@given(names, patterns, patterns, names)
def test_more_blocked_or_less_allowed_never_lets_more_in(
    name: str, allow: list[str], block: list[str], more: str
) -> None:
    if package_refusal(name, [*allow, more], block):
        assert package_refusal(name, allow, block)
    if package_refusal(name, allow, block):
        assert package_refusal(name, allow, [*block, more])


@pytest.mark.parametrize(
    ("pattern", "name", "hit"),
    [
        ("torch*", "torchvision", True),
        ("torch-*", "torch_audio", True),
        ("torch-*", "torch", False),
        ("t?rch", "torch", True),
        ("Zope.Interface", "zope-interface", True),
        ("zope--interface", "zope.interface", True),
    ],
)
def test_patterns(pattern: str, name: str, hit: bool) -> None:
    assert (package_refusal(name, [pattern], []) is None) == hit


@pytest.mark.parametrize(
    "requirement",
    [
        "Cat_Food",
        "cat-food==1.0",
        "cat.food[a,b]>=1,<2",
        "cat_food (>=1.0)",
        "cat-food ~= 1.2 ; extra == 'x'",
    ],
)
def test_names_of_requirements(requirement: str) -> None:
    assert required_package(requirement) == "cat-food"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-e .",
        "--index-url x",
        "./cat.whl",
        "cat @ https://x",
        "https://x/cat.whl",
        "git+https://x",
        "cat -r b",
    ],
)
def test_what_is_no_name_with_versions(line: str) -> None:
    assert required_package(line) is None


@given(names, st.sampled_from(["", "==1.0", "[x]==1.0", ">=1,<2", " ; python_version > '3'"]))
def test_every_name_is_found_in_its_requirement(name: str, rest: str) -> None:
    assert required_package(name + rest) == package_name(name)


def test_of_many_refused_packages_the_first_are_named_and_the_others_counted() -> None:
    words = package_refusals([(f"cat-{it}", "") for it in range(12)], [], [])
    assert words.startswith("the packages cat-0: its packages.allow does not have it; cat-1: its")
    assert words.endswith("cat-9: its packages.allow does not have it; and 2 more")
    assert package_refusals([("cat", "dog")], ["*"], []) == ""
