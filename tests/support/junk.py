"""What a broken or hostile pod may say in place of a value."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.text(max_size=99), st.one_of(st.floats(), st.text(max_size=5), st.none()), max_size=40
    ),
)
