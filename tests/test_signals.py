"""What is captured from a teacher comes back exactly, for the right examples."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from codekd.errors import CodekdError
from codekd.signals.format import read_signal, write_shard


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(10, 3, 4)).astype(np.float16)
    ids = [f"e{index}" for index in range(10)]
    write_shard(tmp_path, "train", 0, "pooled", ids[:6], values[:6])
    write_shard(tmp_path, "train", 1, "pooled", ids[6:8], values[6:8])
    write_shard(tmp_path, "unlabeled", 0, "pooled", ids[8:], values[8:])
    return tmp_path, ids, values


def test_round_trip_over_shards_and_splits_in_any_order(folder):
    path, ids, values = folder
    np.testing.assert_array_equal(read_signal(path, ["train"], "pooled", ids[:8]), values[:8])
    order = [9, 3, 0, 7, 8]
    rows = read_signal(path, ["train", "unlabeled"], "pooled", [ids[index] for index in order])
    np.testing.assert_array_equal(rows, values[order])
    assert rows.dtype == np.float16


def test_the_file_holds_raw_bytes_without_compression_or_dictionary(folder):
    path, _, values = folder
    metadata = pq.read_metadata(path / "train-00000.parquet")
    column = metadata.row_group(0).column(1)
    assert column.compression == "UNCOMPRESSED"
    assert not column.has_dictionary_page
    assert values[:6].tobytes() in (path / "train-00000.parquet").read_bytes()


def test_a_missing_example_is_named(folder):
    path, ids, _ = folder
    with pytest.raises(CodekdError, match="lacks 2 of 10 examples, e8 first"):
        read_signal(path, ["train"], "pooled", ids)


def test_another_signal_is_refused(folder):
    path, ids, _ = folder
    with pytest.raises(CodekdError, match=r"train-00000.parquet has the columns \['id', 'pooled'\], not id and logits"):
        read_signal(path, ["train"], "logits", ids)
