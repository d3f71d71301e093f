"""What is captured from a teacher comes back exactly, for the right examples."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from codekd.data.rows import Fixed, Ragged
from codekd.data.units import Tokens, Units
from codekd.errors import CodekdError
from codekd.signals.format import read_signal, write_shard


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(10, 3, 4)).astype(np.float16)
    ids = [f"e{index}" for index in range(10)]
    write_shard(tmp_path / "train-00000.parquet", "pooled", ids[:6], Fixed(values[:6]))
    write_shard(tmp_path / "train-00001.parquet", "pooled", ids[6:8], Fixed(values[6:8]))
    write_shard(tmp_path / "unlabeled-00000.parquet", "pooled", ids[8:], Fixed(values[8:]))
    return tmp_path, ids, values


def test_round_trip_over_shards_and_splits_in_any_order(folder):
    path, ids, values = folder
    np.testing.assert_array_equal(read_signal(path, ["train"], "pooled", ids[:8]).values, values[:8])
    order = [9, 3, 0, 7, 8]
    rows = read_signal(path, ["train", "unlabeled"], "pooled", [ids[index] for index in order])
    np.testing.assert_array_equal(rows.values, values[order])
    assert rows.values.dtype == np.float16
    assert rows.shape == (3, 4)


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


@pytest.fixture
def ragged():
    """Pairs of pieces with 2 + 1, 0 + 3 and 1 + 0 units, of which the pieces' windows show those from ``first`` on."""
    values = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float16)
    return Ragged(values, np.array([[0, 5], [2, 1], [3, 0]]), np.array([[2, 1], [0, 3], [1, 0]]))


def test_rows_by_unit_come_back_in_any_order(tmp_path, ragged):
    write_shard(tmp_path / "train-00000.parquet", "relations", ["a", "b"], ragged.take(np.array([0, 1])))
    write_shard(tmp_path / "train-00001.parquet", "relations", ["c"], ragged.take(np.array([2])))
    read = read_signal(tmp_path, ["train"], "relations", ["c", "a", "b"])
    np.testing.assert_array_equal(read.values, ragged.values[[6, 0, 1, 2, 3, 4, 5]])
    assert read.first.tolist() == [[3, 0], [0, 5], [2, 1]]
    assert read.count.tolist() == [[1, 0], [2, 1], [0, 3]]


def test_a_batch_holds_the_rows_of_the_units_that_both_models_show(ragged):
    nothing = np.empty(0, dtype=np.int32)
    tokens = Tokens(nothing, nothing, np.zeros(4, int), np.zeros(3, int))
    first, count = np.array([1, 0, 0, 2, 0, 0]), np.array([5, 9, 4, 9, 2, 2])
    student = Units(2, tokens, np.zeros(6, int), *[nothing] * 4, first, count)
    units = student.within(ragged.first.ravel(), ragged.count.ravel())
    assert units.count.tolist() == [1, 1, 0, 2, 0, 0]
    rows = ragged.batch(np.array([1, 0]), units, torch.device("cpu")).numpy()
    assert rows.shape == (4, 2, 4)
    np.testing.assert_array_equal(rows[1], ragged.values[[4, 5]])
    np.testing.assert_array_equal(rows[2, 0], ragged.values[1])
    np.testing.assert_array_equal(rows[3, 0], ragged.values[2])
