"""Trips and links of a large run as CSV: our kernel, beside Python's csv module."""

import argparse
import csv
import io
import math
import time

import numpy as np

from simulation.table_text import Labels, write_rows


def by_csv(ids: list[str], values: np.ndarray) -> bytes:
    """Return the rows as the csv module writes them, rounded to a millionth."""
    file = io.StringIO()
    columns = [["" if math.isnan(v) else round(v, 6) for v in values[:, k].tolist()] for k in range(values.shape[1])]
    csv.writer(file, lineterminator="\n").writerows(zip(ids, *columns, strict=True))
    return file.getvalue().encode()


def by_kernel(ids: list[str], values: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_rows(file, Labels.of(ids), values)
    return file.getvalue()


def numbers(text: bytes) -> np.ndarray:
    rows = [line.split(",")[1:] for line in text.decode().splitlines()]
    return np.array([[float(cell) if cell else math.nan for cell in row] for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    ids = [f"{k // 300 + 1}-{k % 300 + 1}" for k in range(args.rows)]
    values = rng.random((args.rows, 5)) * [10_000, 10_000, 10_000, 20_000, 900]
    values[rng.random(args.rows) < 0.1, 2] = math.nan
    by_kernel(ids[:10], values[:10])  # compiles
    spent, texts = [], []
    for write in (by_kernel, by_csv):
        begin = time.process_time()
        texts.append(write(ids, values))
        spent.append(time.process_time() - begin)
    assert [t.count(b"\n") for t in texts] == [args.rows] * 2
    n = 20_000  # reading all of them back takes longer than writing
    ours, theirs = (numbers(b"\n".join(text.split(b"\n", n)[:n])) for text in texts)
    assert np.allclose(ours, theirs, rtol=0, atol=1.001e-6, equal_nan=True), "the two did not write the same"
    print(
        f"results: {spent[1] / spent[0]:.1f} x Python's csv module ({args.rows / spent[0]:,.0f} and"
        f" {args.rows / spent[1]:,.0f} rows/s of CPU, {args.rows:,} equal rows)"
    )


if __name__ == "__main__":
    main()
