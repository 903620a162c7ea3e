"""The conversion table: each Arrow type, whole, sliced, chunked, empty and with missing values."""

from __future__ import annotations

import datetime
import decimal
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.tensors import TensorLayout
from mlpools.errors import DataNotReadable, InvalidSpec

D = decimal.Decimal
INTS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
TIMES: list[tuple[pa.DataType, str]] = [
    (pa.date32(), "int32"),
    (pa.date64(), "int64"),
    (pa.time32("s"), "int32"),
    (pa.time64("ns"), "int64"),
    (pa.timestamp("us"), "int64"),
    (pa.timestamp("ms", "Europe/Berlin"), "int64"),
    (pa.duration("s"), "int64"),
]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view()]
LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


def one(values: pa.Array | pa.ChunkedArray, **options: Any) -> Any:
    table = pa.table({"x": values})
    return TensorLayout(table.schema, **options).convert(table)["x"]


def numbers(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width, allow_nan=False) | st.none()
    low = -(2 ** (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
    return st.integers(low, low + 2**kind.bit_width - 1)


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.ChunkedArray, list[Any], pa.DataType]:
    """A column of numbers or texts in chunks, each with an offset into its buffers, and its values."""
    kind = draw(st.sampled_from([*INTS, *FLOATS, pa.bool_(), *TEXTS, *BYTES]))
    if pa.types.is_boolean(kind):
        value = st.booleans()
    elif kind in (*TEXTS, *BYTES):
        value = (st.text(max_size=5) if kind in TEXTS else st.binary(max_size=5)) | st.none()
    else:
        value = numbers(kind)
    chunks = draw(st.lists(st.lists(value, max_size=12), max_size=3))
    encode = draw(st.booleans()) and not pa.types.is_float16(kind) and kind not in (TEXTS[2], BYTES[2])
    arrays, expected = [], []
    for values in chunks:
        start = draw(st.integers(0, len(values)))
        array = pa.array(values, kind)
        arrays.append((array.dictionary_encode() if encode else array).slice(start))
        expected += values[start:]
    column_type = pa.dictionary(pa.int32(), kind) if encode else kind
    return pa.chunked_array(arrays, column_type), expected, kind


@given(columns())
@settings(max_examples=300, deadline=None)
def test_every_value_survives_whatever_the_chunks_and_offsets(
    case: tuple[pa.ChunkedArray, list[Any], pa.DataType],
) -> None:
    column, expected, kind = case
    got = one(column)
    if kind in (*TEXTS, *BYTES):
        assert got == expected
        return
    assert got.dtype == np.dtype(kind.to_pandas_dtype())
    assert got.shape == (len(expected),)
    np.testing.assert_array_equal(got, np.array([math.nan if v is None else v for v in expected], got.dtype))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_decimals_become_the_floats_and_integers_that_hold_them(data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from(
            [
                *(pa.decimal32(p, s) for p, s in ((9, 2), (4, 0), (9, 0), (5, -1), (9, -3))),
                *(pa.decimal64(p, s) for p, s in ((18, 6), (18, 0), (12, -3))),
                *(pa.decimal128(p, s) for p, s in ((38, 10), (38, 0), (3, 0), (10, -2))),
                *(pa.decimal256(p, s) for p, s in ((76, 20), (50, 0))),
            ]
        )
    )
    digits = min(kind.precision, 18 + min(kind.scale, 0))
    unscaled = data.draw(st.lists(st.integers(-(10**digits) + 1, 10**digits - 1), max_size=8))
    values = [D(number).scaleb(-kind.scale, decimal.Context(prec=80)) for number in unscaled]
    # pyarrow itself makes no such array of Decimals that exceed the type's width once they are scaled.
    stored = pa.py_buffer(np.array(unscaled, np.int32)) if pa.types.is_decimal32(kind) else None
    array = pa.Array.from_buffers(kind, len(unscaled), [None, stored]) if stored else pa.array(values, kind)
    got = one(array)
    whole = kind.scale <= 0
    if whole:
        wanted = kind.precision - kind.scale
        assert got.dtype == (np.int16 if wanted <= 4 else np.int32 if wanted <= 9 else np.int64)
        assert got.tolist() == [int(value) for value in values]
    else:
        assert got.dtype == (np.float32 if pa.types.is_decimal32(kind) else np.float64)
        np.testing.assert_allclose(got, [float(value) for value in values], rtol=1e-6)


def test_a_decimal_above_64_bits_is_refused_with_its_row() -> None:
    with pytest.raises(DataNotReadable, match=r"'x', row 1 of the batch, does not fit into 64 bits; select"):
        one(pa.array([D(1), D(10) ** 20, None], pa.decimal128(38, 0)))


@pytest.mark.parametrize(("kind", "dtype"), TIMES, ids=str)
def test_times_are_the_integers_they_are_stored_as(kind: pa.DataType, dtype: str) -> None:
    stored = pa.array([86_400_000, 0, 172_800_000], pa.int32() if dtype == "int32" else pa.int64())
    got = one(stored.view(kind).slice(1))
    assert got.dtype == dtype
    assert got.tolist() == [0, 172_800_000]


def test_a_timestamp_counts_its_unit_from_1970_in_utc() -> None:
    moment = datetime.datetime(1970, 1, 1, 1, 0, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert one(pa.array([moment], pa.timestamp("ms", "Europe/Berlin"))).tolist() == [1000]
    assert one(pa.array([datetime.date(1970, 1, 3)])).tolist() == [2]


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_one_length_become_a_matrix(kind: Any) -> None:
    lists = pa.array([[9], [1, 2], [3, 4], [5, 6]], kind(pa.int16()))
    got = one(pa.chunked_array([lists.slice(1, 2), lists.slice(3)]))
    assert got.dtype == np.int16
    assert got.tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(DataNotReadable, match=r"'x', row 1 of the batch, is a list of 2 after lists of 1"):
        one(lists)
    assert one(lists.slice(4)).shape == (0, 0)


def test_lists_of_fixed_size_and_tensors_keep_their_shape() -> None:
    pairs = pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.float32(), 2), 2))
    layout = TensorLayout(pa.schema({"x": pairs.type}), expand_dims=True)
    assert layout.forms["x"].shape == (2, 2)
    assert one(pairs.slice(1), expand_dims=True).tolist() == [[[5, 6], [7, 8]]]
    assert one(pairs.slice(2)).shape == (0, 2, 2)
    cube = np.arange(24.0).reshape(2, 3, 4)
    assert one(pa.FixedShapeTensorArray.from_numpy_ndarray(cube)).tolist() == cube.tolist()
    turned = cube.transpose(0, 2, 1)
    assert one(pa.FixedShapeTensorArray.from_numpy_ndarray(turned).slice(1)).tolist() == turned[1:].tolist()


def test_missing_values_within_lists_are_nan_among_floats_only() -> None:
    floats = one(pa.array([[1.0, None]], pa.list_(pa.float32())))
    assert np.isnan(floats).tolist() == [[False, True]]
    with pytest.raises(DataNotReadable, match=r"'x', row 1 of the batch, is empty, and int64 has no value"):
        one(pa.array([[1, 2], [3, None]]))
    with pytest.raises(DataNotReadable, match=r"row 1 of the batch, is empty, and list.*Leave such rows out"):
        one(pa.array([[1.0], None]))


def test_texts_in_lists_stay_lists() -> None:
    assert one(pa.array([["a", None], []])) == [["a", None], []]


def test_extensions_are_what_they_are_stored_as() -> None:
    assert one(pa.array([b"0123456789abcdef"], pa.uuid())) == [b"0123456789abcdef"]
    assert one(pa.array([b"ab", None], pa.binary(2))) == [b"ab", None]
    assert one(pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"]))) == ["{}"]


def test_runs_and_columns_without_any_value() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([7, 8], pa.int8()))
    assert one(runs.slice(1)).tolist() == [7, 8]
    nothing = one(pa.nulls(2))
    assert nothing.dtype == np.float32
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (pa.struct({"a": pa.int8()}), "select its fields"),
        (pa.map_(pa.string(), pa.int8()), "select the keys"),
        (pa.list_(pa.struct({"a": pa.int8()})), "select its fields"),
        (pa.month_day_nano_interval(), "write it as a duration"),
        (pa.dense_union([pa.field("a", pa.int8())]), "one type"),
    ],
    ids=str,
)
def test_a_type_without_tensor_form_is_refused_before_any_row_is_read(kind: pa.DataType, remedy: str) -> None:
    with pytest.raises(DataNotReadable, match=rf"Column 'x' is .* no tensor form: .*{remedy}.*columns=\[…\]"):
        TensorLayout(pa.schema({"ok": pa.int8(), "x": kind}))


@pytest.mark.parametrize("kind", [pa.int64(), pa.bool_(), pa.timestamp("s"), pa.decimal128(19, 0)], ids=str)
def test_a_missing_value_that_has_no_form_is_refused_with_its_row(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([1], pa.int64()).cast(kind), pa.nulls(2, kind)])
    with pytest.raises(DataNotReadable, match=r"part 3: column 'x', row 1 of the batch, .*fill=\{'x': …\}"):
        TensorLayout(pa.schema({"x": kind})).convert(pa.table({"x": column}), where="part 3")


def test_missing_values_are_filled_as_asked() -> None:
    column = pa.chunked_array([pa.array([1, None], pa.int8()), pa.array([None], pa.int8())])
    filled = one(column, fill={"x": -1})
    assert (filled.dtype, filled.tolist()) == (np.int8, [1, -1, -1])
    as_nan = one(column, fill={"x": math.nan})
    assert as_nan.dtype == np.float32
    np.testing.assert_array_equal(as_nan, [1, math.nan, math.nan])
    assert one(column.slice(0, 1), fill={"x": math.nan}).dtype == np.float32
    assert one(pa.array([None, 5]), fill={"x": math.nan}).dtype == np.float64
    assert one(pa.array(["a", None]).dictionary_encode(), fill={"x": "?"}) == ["a", "?"]
    assert one(pa.array([True, None]), fill={"x": False}).tolist() == [True, False]
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array([None, 8], pa.int8()))
    assert one(runs, fill={"x": 0}).tolist() == [0, 8, 8]
    day = datetime.date(1970, 1, 2)
    assert one(pa.array([None], pa.date32()), fill={"x": day}).tolist() == [1]
    assert one(pa.array([None], pa.decimal128(9, 2)), fill={"x": 2.5}).tolist() == [2.5]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (pa.int8(), 300, "300 is no int8 for 'x'"),
        (pa.int8(), "a", "'a' is no int8"),
        (pa.int8(), None, "None is no int8"),
        (pa.list_(pa.int8()), 1, "only single values"),
        (pa.list_(pa.string()), "a", "only single values"),
        (pa.string(), math.nan, "nan is no string"),
    ],
)
def test_a_filler_that_does_not_fit_is_refused(kind: pa.DataType, value: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        TensorLayout(pa.schema({"x": kind}), fill={"x": value})


def test_single_numbers_get_a_second_axis_on_request() -> None:
    table = pa.table({"n": [1, 2], "t": ["a", "b"], "l": [[1], [2]]})
    layout = TensorLayout(table.schema, expand_dims=True)
    assert [form.shape for form in layout.forms.values()] == [(1,), (), (None,)]
    got = layout.convert(table)
    assert got["n"].shape == (2, 1)  # type: ignore[union-attr]
    assert got["t"] == ["a", "b"]
    assert got["l"].shape == (2, 1)  # type: ignore[union-attr]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_stack_is_the_columns_side_by_side(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from([*INTS, *FLOATS, pa.bool_()]), min_size=1, max_size=4))
    rows = data.draw(st.integers(0, 20))
    arrays = [
        pa.array(np.arange(i, i + rows) % 100).cast(pa.int8()).cast(kind) for i, kind in enumerate(kinds)
    ]
    table = pa.table(arrays, names=[str(i) for i in range(len(kinds))])
    cut = data.draw(st.integers(0, rows))
    table = pa.concat_tables([table.slice(0, cut), table.slice(cut)]).slice(data.draw(st.integers(0, rows)))
    order = data.draw(st.permutations(table.column_names))
    got = TensorLayout(table.schema, stack={"all": order}).convert(table)
    assert list(got) == ["all"]
    stacked = got["all"]
    assert isinstance(stacked, np.ndarray)
    assert all(column.flags.c_contiguous for column in stacked.T)
    singles = [table.column(name).to_numpy() for name in order]
    assert stacked.dtype == np.result_type(*(array.dtype for array in singles))
    np.testing.assert_array_equal(stacked, np.stack(singles, axis=1).astype(stacked.dtype))


def test_a_stack_of_floats_takes_missing_integers_as_nan() -> None:
    table = pa.table(
        {"f": pa.array([1, None], pa.float32()), "i": pa.array([None, 2], pa.int16()), "t": ["a"] * 2}
    )
    got = TensorLayout(table.schema, stack={"both": ["f", "i"]}).convert(table)
    assert list(got) == ["t", "both"]
    np.testing.assert_array_equal(got["both"], np.array([[1, math.nan], [math.nan, 2]], np.float32))  # type: ignore[arg-type]
    layout = TensorLayout(table.schema, stack={"both": ["i"]}, fill={"i": 0})
    assert layout.convert(table)["both"].tolist() == [[0], [2]]  # type: ignore[union-attr]
    with pytest.raises(DataNotReadable, match="'i', row 0 of the batch, is empty"):
        TensorLayout(table.schema, stack={"both": ["i"]}).convert(table)


@pytest.mark.parametrize("rows", [0, 1, 2047, 2048, 5000])
def test_what_is_laid_down_row_by_row_is_what_is_converted(rows: int) -> None:
    table = pa.table(
        {
            "f": pa.array(np.arange(rows, dtype=np.float32)),
            "i": pa.array([None if i % 7 == 3 else i for i in range(rows)], pa.int16()),
            "n": pa.array(range(rows), pa.int64()),
        }
    )
    layout = TensorLayout(table.schema, stack={"all": ["i", "f"]}, expand_dims=True)
    batch = pa.record_batch({name: table.column(name).combine_chunks() for name in table.column_names})
    for name in ("all", "n"):
        target = layout.room(name, rows)
        layout.lay_down(batch, name, target)
        assert target.flags.c_contiguous
        np.testing.assert_array_equal(target, layout.convert(batch)[name])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": {"s": []}}, "no columns"),
        ({"stack": {"s": ["t"]}}, "'t' holds no single numbers"),
        ({"stack": {"t": ["n"]}}, "'t' is also a column"),
        ({"stack": {"s": ["m"]}}, r"no column 'm'\. "),
        ({"fill": {"m": 1}}, r"no column 'm'\. "),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidSpec, DataNotReadable), match=message):
        TensorLayout(pa.schema({"n": pa.int8(), "t": pa.string()}), **options)


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataNotReadable, match="Two columns are called 'a'"):
        TensorLayout(pa.schema([("a", pa.int8()), ("a", pa.int8())]))


def test_floats_without_missing_values_are_not_copied_and_cannot_be_written() -> None:
    column = pa.array([1.0, 2.0, 3.0])
    got = one(pa.chunked_array([column]).slice(1))
    assert got.__array_interface__["data"] == (column.buffers()[1].address + 8, True)


def test_a_layout_survives_pickling() -> None:
    table = pa.table({"a": [1, None], "b": [1.0, 2.0]})
    layout = TensorLayout(table.schema, stack={"x": ["a", "b"]}, fill={"a": 3})
    again = pickle.loads(pickle.dumps(layout))
    assert again.convert(table)["x"].tolist() == [[1, 1], [3, 2]]


def test_numbers_become_tensors_without_pandas(tmp_path: Path) -> None:
    """To import it takes longer than to read a first row group."""
    table = pa.table({"f": [1.5, None], "i": [1, 2], "b": [True, False], "d": pa.array([1, 2], pa.date32())})
    pq.write_table(table, tmp_path / "data.parquet")
    program = (
        "import sys\n"
        "from mlpools.data import DataConnector\n"
        "from mlpools.data.tensors import TensorLayout\n"
        "connector = DataConnector.from_parquet(sys.argv[1])\n"
        "layout = TensorLayout(connector.schema, stack={'x': ['f', 'b']})\n"
        "print([layout.convert(batch) for batch in connector.to_batches(1)])\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, env={"PYTHONPATH": "workloads"}
    )
