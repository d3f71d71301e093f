"""From code to padded batches: encoding, windows, budgets."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from codekd.data import bpe, encode, encode_lexemes, sequences
from codekd.data.batches import load_encoded, sorted_batches, training_batches
from codekd.data.encoded import encoding_of
from codekd.data.hole import HOLE
from codekd.data.lexer import VERSION
from codekd.errors import CodekdError
from codekd.models.vocabulary import read_vocabulary
from codekd.study.job import Job

CODE = [
    "def read(path):\n    try:\n        return open(path).read()\n    except __HOLE__:\n        return None\n",
    "def größe(überschrift):\n\treturn len(überschrift)  # ñ 😀\r\n"
    + "    x = 1\n" * 60
    + "    except __HOLE__: pass\n",
    "x = __HOLE__" + " + 1" * 200,
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    examples = tmp_path_factory.mktemp("examples")
    write_examples(examples, {"code": CODE})
    bpe.run(
        Job("tokenizers", ("t",), {"size": 400, "columns": {"t": ["code"]}}, {"examples/t": examples}, folder),
        folder,
    )
    return folder


def write_examples(folder, columns):
    count = len(next(iter(columns.values())))
    for split in sequences.SPLITS:
        labels = [-1 if split == "unlabeled" else row % 2 for row in range(count)]
        rows = {"id": [f"{split}{row}" for row in range(count)], **columns, "label": labels, "group": ["g"] * count}
        pl.DataFrame(rows, schema_overrides={"label": pl.Int32}).write_parquet(folder / f"{split}.parquet")


def encoded(tokenizer, tmp_path, columns, has_hole, max_length=32):
    examples, folder = tmp_path / "examples", tmp_path / "encoded"
    examples.mkdir()
    folder.mkdir()
    write_examples(examples, columns)
    spec = {
        "max_length": max_length,
        "prefix": [],
        "classes": ["no", "yes"],
        "columns": list(columns),
        "has_hole": has_hole,
    }
    encode.run(Job("encoded", ("t", "s"), spec, {"examples": examples, "tokenizer": tokenizer}, tmp_path), folder)
    return folder


def test_the_hole_is_one_token_and_always_inside_the_window(tokenizer, tmp_path):
    folder = encoded(tokenizer, tmp_path, {"code": CODE}, has_hole=True)
    hole = read_vocabulary(folder).hole_id
    for ids in pq.read_table(folder / "train.parquet")["input_ids"].to_pylist():
        assert ids.count(hole) == 1
        assert len(ids) <= 32


def test_offsets_point_at_the_characters_of_each_token(tokenizer, tmp_path):
    folder = encoded(tokenizer, tmp_path, {"code": CODE}, has_hole=True, max_length=4096)
    for code, row in zip(CODE, pq.read_table(folder / "train.parquet").to_pylist(), strict=True):
        spans = [
            (start, end) for start, end in zip(row["starts"], row["ends"], strict=True) if start != sequences.NO_OFFSET
        ]
        assert len(spans) == row["length"] - 2
        covered = set().union(*(range(start, end) for start, end in spans))
        assert covered == set(range(len(code))), "every character belongs to a token"


def test_a_pair_is_one_sequence_whose_second_part_is_marked(tokenizer, tmp_path):
    pairs = {"code_a": ["a = 1", "b = 2" * 50], "code_b": ["a = 1" * 50, "b"]}
    folder = encoded(tokenizer, tmp_path, pairs, has_hole=False)
    vocabulary = read_vocabulary(folder)
    data = load_encoded(folder, ["train"])
    batch = data.batch(np.array([0, 1]), torch.device("cpu"))
    assert batch.input_ids.shape == (2, 31)  # of 32 tokens 29 are for two sides: 14 each
    for row in range(2):
        second = int(data.second_start[row])
        length = int(data.lengths[row])
        assert batch.input_ids[row, second - 1] == batch.input_ids[row, length - 1] != vocabulary.pad_id
        assert batch.token_type_ids[row].tolist() == [int(second <= i < length) for i in range(31)]


def lexed(tmp_path, columns, has_hole=False, max_length=16, language="python"):
    examples, folder = tmp_path / "examples", tmp_path / "lexed"
    examples.mkdir()
    folder.mkdir()
    write_examples(examples, columns)
    spec = {"max_length": max_length, "language": language, "classes": ["no", "yes"], "columns": list(columns)}
    spec |= {"has_hole": has_hole}
    encode_lexemes.run(Job("encoded", ("t", "lexemes-16"), spec, {"examples": examples}, tmp_path), folder)
    return folder


def test_lexemes_are_read_around_the_hole_without_special_tokens(tmp_path):
    folder = lexed(tmp_path, {"code": CODE}, has_hole=True)
    vocabulary = read_vocabulary(folder)
    assert (vocabulary.pad_id, vocabulary.mask_id, vocabulary.hole_id) == (0, 1, 2) and not vocabulary.sides_apart
    for code, row in zip(CODE, pq.read_table(folder / "train.parquet").to_pylist(), strict=True):
        shown = [code[slice(*span)] for span in zip(row["starts"], row["ends"], strict=True)]
        assert len(shown) == row["length"] == row["second_start"] == 16
        assert [row["input_ids"].index(2)] == [place for place, text in enumerate(shown) if text == "__HOLE__"]
        assert all(text.strip() and not text.startswith("#") for text in shown)


def test_a_piece_of_code_without_lexemes_has_one_that_stands_for_nothing(tmp_path):
    folder = lexed(tmp_path, {"code_a": ["# a", "x"], "code_b": ["y", " "]})
    rows = pq.read_table(folder / "train.parquet").to_pylist()
    assert [(len(row["input_ids"]), row["second_start"]) for row in rows] == [(2, 1), (2, 1)]
    assert (rows[0]["input_ids"][0], rows[1]["input_ids"][1]) == (3, 3)
    assert (rows[0]["starts"][0], rows[0]["ends"][0]) == (-1, -1)


def test_the_sides_of_a_pair_of_lexemes_are_rows_of_their_own_cut_each_for_itself(tmp_path):
    pairs = {"code_a": ["a = 1", "b = 2;" * 50], "code_b": ["a = 1;" * 50, "b"]}
    data = load_encoded(lexed(tmp_path, pairs), ["train"])
    assert data.apart and data.lengths.tolist() == [19, 17] and data.padded_lengths.tolist() == [32, 32]
    batch = data.batch(np.array([1, 0]), torch.device("cpu"))
    assert batch.input_ids.shape == (4, 16) and batch.labels.tolist() == [1, 0]
    assert batch.attention_mask.sum(1).tolist() == [16, 1, 3, 16]
    assert (batch.input_ids.ne(0) == batch.attention_mask.bool()).all()
    assert (batch.token_type_ids == batch.attention_mask * torch.tensor([[0], [1], [0], [1]])).all()
    first, second = data.tokens[: data.second_start[0]], data.tokens[data.second_start[0] : data.offsets[1]]
    assert batch.input_ids[2, :3].tolist() == first.tolist() and batch.input_ids[3].tolist() == second.tolist()
    part = data.part(batch, np.array([1]))
    assert torch.equal(part.shown, batch.shown[2:, :16]) and torch.equal(part.input_ids, batch.input_ids[2:])
    alone = data.part(batch, np.array([0]))
    assert torch.equal(alone.shown, batch.shown[:2])


PAIRS = {"code_a": ["a = 1", "b = 2;" * 50, ""], "code_b": ["a = 1;" * 50, "b", "# nothing"]}


@pytest.mark.parametrize(("columns", "has_hole"), [({"code": CODE}, True), ({"code": CODE[:2]}, False), (PAIRS, False)])
@pytest.mark.parametrize("by", ["lexemes", "tokens"])
def test_what_is_served_reads_as_it_was_trained(tokenizer, tmp_path, by, columns, has_hole):
    folder = lexed(tmp_path, columns, has_hole) if by == "lexemes" else encoded(tokenizer, tmp_path, columns, has_hole)
    trained = load_encoded(folder, ["train"])
    spec = {"max_length": 16, "language": "python"} if by == "lexemes" else {"max_length": 32, "prefix": []}
    encoding = encoding_of(folder, spec | {"has_hole": has_hole})
    examples = list(zip(*columns.values(), strict=True))
    for rows in ([0], [1, 0], list(range(len(examples)))):
        expected = trained.inputs(np.array(rows))
        for served, there in zip(encoding.read([examples[row] for row in rows]).inputs, expected, strict=True):
            assert served.dtype == there.dtype == np.int64
            np.testing.assert_array_equal(served, there)


SPACES = st.one_of(st.text(" \n\t\u3000", max_size=12), st.text(" \n", min_size=8, max_size=40))
WORDS = st.text("ab_9(=\u00e9", min_size=1, max_size=60)
TEXTS = st.lists(st.tuples(WORDS, SPACES), min_size=1, max_size=30).map(lambda parts: "".join(map("".join, parts)))
COUNTS = st.integers(1, 4)


@pytest.mark.parametrize("by", ["bytes", "words", "prefixed"])
def test_what_is_far_from_the_shown_tokens_changes_none_of_them(tmp_path_factory, by):
    """Cut or not, texts have the same first tokens and the same window round a hole, however odd their spaces are."""
    folder = tmp_path_factory.mktemp(by)
    if by == "words":
        pieces = ["[UNK]", *"ab9_(=", "##a", "##b", "##9"]
        made = Tokenizer(models.WordPiece(dict(zip(pieces, range(10), strict=True)), unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.add_special_tokens([AddedToken(HOLE, normalized=False)])
    else:
        runs = (
            " " * spaces + "\n" * ends + " " * more + "abba_9"
            for spaces in range(9)
            for ends in (1, 3)
            for more in (4, 7)
        )
        made = bpe.train(runs, 340)
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=by == "prefixed")
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[UNK]" if by == "words" else bpe.PAD).save_pretrained(
        folder
    )

    @settings(deadline=None, max_examples=150, derandomize=True)
    @given(TEXTS, TEXTS, COUNTS, st.booleans(), st.integers(16, 60))
    @example(
        "abba_9" * 3 + "\n" * 15 + " " * 24 + "x = 1\n" + " " * 34 + "\n\n", "x = 1" + "\n" * 9 + "abba_9", 1, True, 26
    )
    def check(first, second, times, has_hole, max_length):
        code = [first * times + HOLE + second * times] if has_hole else [first * times, second]
        encoding = encoding_of(folder, {"max_length": max_length, "prefix": [], "has_hole": has_hole})
        row, served = encoding.row(*code), encoding.read([code]).inputs
        assert served.input_ids[0].tolist() == row["input_ids"].tolist()
        assert served.token_type_ids[0].argmax() in (0, row["second_start"])

    check()


def test_budgets_count_the_padding_of_both_sides(tmp_path):
    columns = {
        "code_a": ["x " * length for length in (1, 2, 9, 9)],
        "code_b": ["y " * length for length in (9, 1, 2, 9)],
    }
    data = load_encoded(lexed(tmp_path, columns), ["train"])
    for rows in training_batches(data.padded_lengths, 8, 36, np.random.default_rng(0)):
        assert data.batch(rows, torch.device("cpu")).input_ids.numel() <= 36


def test_another_version_of_the_lexer_is_refused(tmp_path, monkeypatch):
    folder = lexed(tmp_path, {"code": ["x"]})
    monkeypatch.setattr(encode_lexemes, "VERSION", VERSION + 1)
    with pytest.raises(
        CodekdError, match=f"asks for version {VERSION} of the lexer, and this is version {VERSION + 1}"
    ):
        encode_lexemes.LexicalEncoding(folder, {})


@pytest.mark.parametrize(
    ("position", "length", "limit", "window"),
    [(5, 10, 30, (0, 10)), (50, 100, 30, (30, 60)), (2, 100, 30, (0, 30)), (99, 100, 30, (70, 100))],
)
def test_window_around_a_hole(position, length, limit, window):
    assert sequences.around(position, length, limit) == window
    assert window[0] <= position < window[1]


@pytest.mark.parametrize(
    ("lengths", "limit", "kept"),
    [
        ([5], 9, [5]),
        ([20], 9, [9]),
        ([3, 4], 9, [3, 4]),
        ([3, 40], 9, [3, 6]),
        ([40, 3], 9, [6, 3]),
        ([40, 40], 9, [4, 5]),
    ],
)
def test_the_longer_side_of_a_pair_is_cut_first(lengths, limit, kept):
    assert sequences.shares(lengths, limit) == kept


def test_batches_hold_every_row_once_and_keep_the_budget():
    lengths = np.random.default_rng(0).integers(3, 200, size=1000)
    for batches in (
        training_batches(lengths, 32, 1500, np.random.default_rng(1)),
        sorted_batches(lengths, 32, 1500),
    ):
        assert sorted(np.concatenate(batches)) == list(range(1000))
        assert all(len(rows) <= 32 and len(rows) * lengths[rows].max() <= 1500 for rows in batches)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded < 1.1 * lengths.sum(), "batches of similar length waste little on padding"


def test_the_order_of_batches_depends_on_the_generator_alone():
    lengths = np.random.default_rng(0).integers(3, 200, size=300)
    first, again, other = (training_batches(lengths, 8, 999, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all(len(a) == len(b) and (a == b).all() for a, b in zip(first, other, strict=False))


def test_an_example_longer_than_the_budget_is_a_batch_of_its_own():
    assert [rows.tolist() for rows in sorted_batches(np.array([50, 500, 60]), 8, 100)] == [[1], [2], [0]]
