"""Write the table of these files with the pyarrow that runs it: `python write_file.py <path>`.

It is run by old versions, and uses what all of them have.
"""

import sys
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

TABLE = pa.Table.from_pydict(
    {
        "id": pa.array(["a", "b", None]),
        "text": pa.array(["def f():\n    return 1\n", "é 🚀", None]),
        "metadata": pa.array(
            [{"path": "a.py", "language": "Python"}, None, {"path": None, "language": "C"}]
        ),
        "n": pa.array([1, None, -(2**63)], pa.int64()),
        "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "f": pa.array([0.1, None, float("inf")]),
        "d": pa.array([Decimal("1.50"), None, Decimal("-0.25")], pa.decimal128(5, 2)),
        "t": pa.array(
            [
                datetime.fromisoformat("2024-01-02T03:04:05.678"),
                None,
                datetime.fromisoformat("1969-12-31T23:59:59"),
            ],
            pa.timestamp("ms", "UTC"),
        ),
        "b": pa.array([b"a\xff", None, b""]),
        "l": pa.array([["x", None], None, []]),
        "c": pa.array(["k", "k", None]).dictionary_encode(),
    }
)

if __name__ == "__main__":
    pq.write_table(TABLE, sys.argv[1], compression="snappy")
