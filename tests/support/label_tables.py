"""Tables of labels, in every format that is read."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq

TABLE_KINDS = ("csv", "tsv", "jsonl", "ndjson", "parquet")


def write_table(path, rows, path_column="path", label_column="label"):
    """The same table in the format that the name of the file says."""
    if path.suffix == ".parquet":
        columns = {"other": [0] * len(rows), path_column: [p for p, _ in rows], label_column: [t for _, t in rows]}
        pq.write_table(pa.table(columns), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps({label_column: t, "other": [0], path_column: p}) + "\n" for p, t in rows))
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([("other", path_column, label_column), *((0, p, t) for p, t in rows)])
    return str(path)
