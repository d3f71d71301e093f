import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel, PreTrainedModel

from codekd.errors import CodekdError
from codekd.models.architectures import bigru, conv, roberta
from codekd.models.architectures.base import Architecture, Lexemes
from codekd.models.bigru import BiGRUForSequenceClassification
from codekd.models.device import Device, set_training_attention
from codekd.models.encoder import EncoderForSequenceClassification
from codekd.models.lexical import RunEmbedding, multiplier
from codekd.models.pooling import pool
from codekd.models.vocabulary import Vocabulary
from codekd.study import components

PRESETS = yaml.safe_load((files("codekd") / "presets" / "students.yaml").read_text())
VOCABULARY = Vocabulary(size=300, pad_id=1, mask_id=2, hole_id=3)
LENGTHS = [7, 4, 1]
TWENTIETH = ("roberta-1.1m", "bigru-1.1m", "conv-0.5m", "lexical-bigru-0.8m", "lexical-0.7m")
MINILM = 22_713_216
"""Parameters of all-MiniLM-L6-v2."""

ROBERTA = roberta.Config(kind="roberta", vocabulary_size=300, max_length=32, layers=2, hidden=16, heads=4)
BIGRU = bigru.Config(kind="bigru", vocabulary_size=300, layers=2, hidden=6)
CONV = conv.Config(kind="conv", vocabulary_size=300, layers=2, hidden=12, head_width=7, max_length=32)
ATTENDING = CONV.model_copy(update={"attention": 1, "heads": 3})
FAMILIES: list[tuple[Architecture, str]] = [(ROBERTA, how) for how in ("first", "mean", "max", "hole", "pair")]
FAMILIES += [(BIGRU, how) for how in ("final", "mean", "max", "hole", "pair")]
FAMILIES += [(one, how) for one in (CONV, ATTENDING) for how in ("mean", "max", "hole", "pair")]

LEXEMES = Lexemes(buckets=300, width=10)
LEXICAL = [
    one.model_copy(update={"vocabulary_size": None, "lexemes": LEXEMES}) for one in (ROBERTA, BIGRU, CONV, ATTENDING)
]
LEXICAL_FAMILIES = [(one, how) for one in LEXICAL for how in (one.plain_pooling, "max", "hole", "pair")]


def student(architecture: Architecture, pooling: str, seed: int = 0, apart: bool = False) -> PreTrainedModel:
    torch.manual_seed(seed)
    vocabulary = VOCABULARY
    if architecture.lexemes:
        vocabulary = Vocabulary(2**31, 0, 1, 2, (0, 1, 2, 3), sides_apart=apart or pooling == "pair")
    return architecture.build(vocabulary, classes=5, pooling=pooling).eval()


def lexical_batch(extra_padding: int = 0) -> tuple[Tensor, Tensor]:
    """Ids of lexemes with a hole in the second place, of six sequences, and their mask."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([7, 2, 3, 5, 1, 6])
    ids = torch.randint(16, 2**31 - 1, (6, 7), generator=generator)
    ids[:, 1] = 2
    mask = (torch.arange(7) < lengths.unsqueeze(1)).long()
    pad = nn.functional.pad
    return pad(ids * mask, (0, extra_padding)), pad(mask, (0, extra_padding))


def batch(extra_padding: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random ids with a hole in the second place, as far as the lengths go, their mask and the sides of a pair."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(4, VOCABULARY.size, (len(LENGTHS), max(LENGTHS)), generator=generator)
    input_ids[:, 1] = VOCABULARY.hole_id
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)).long()
    padded = input_ids.masked_fill(mask == 0, VOCABULARY.pad_id)
    sides = mask * (torch.arange(max(LENGTHS)) >= 3)
    extra = (0, extra_padding)
    pad = nn.functional.pad
    return pad(padded, extra, value=VOCABULARY.pad_id), pad(mask, extra), pad(sides, extra)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    weights, others = first.state_dict(), second.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)


# Presets and definitions


@pytest.mark.parametrize("name", PRESETS)
def test_preset_has_the_size_of_its_name(name: str) -> None:
    # The rest of a preset is for the training loop.
    sizes = {key: value for key, value in PRESETS[name].items() if key != "training"}
    definition = components.parse("students", sizes | {"max_length": 96})
    millions = float(name.rpartition("-")[2].removesuffix("m"))
    for shape, classes in (("hole", 20), ("pair", 2), ("code", 2)):
        vocabulary = Vocabulary(size=definition.vocabulary_size or 2**31, pad_id=1, mask_id=2, hole_id=3)
        if definition.lexemes:
            vocabulary = replace(vocabulary, sides_apart=shape == "pair")
        with torch.device("meta"):
            model = definition.build(vocabulary, classes=classes, pooling=definition.pooling_for(shape))
        if shape == "hole":
            assert model.num_parameters() == pytest.approx(millions * 1e6, rel=0.1)
        if name in TWENTIETH:
            assert model.num_parameters() < 0.05 * MINILM, "embeddings included, on every task"


def test_a_student_reads_as_much_as_its_max_length() -> None:
    long = ROBERTA.model_copy(update={"max_length": 700})
    for definition in (long, BIGRU.model_copy(update={"max_length": 700})):
        model = definition.build(VOCABULARY, classes=2, pooling="mean").eval()
        input_ids = torch.full((1, 700), 9)
        assert model(input_ids, torch.ones_like(input_ids)).logits.isfinite().all()


def test_pooling_follows_the_task() -> None:
    assert ROBERTA.pooling_for("hole") == BIGRU.pooling_for("hole") == "hole"
    assert ROBERTA.pooling_for("code") == "first"
    assert BIGRU.pooling_for("code") == "final"
    assert ROBERTA.pooling_for("pair") == BIGRU.pooling_for("pair") == "pair"
    assert BIGRU.model_copy(update={"pooling": "mean"}).pooling_for("hole") == "mean"
    with pytest.raises(CodekdError, match="write 'auto' or 'final'"):
        BIGRU.model_copy(update={"pooling": "hole"}).pooling_for("code")


def test_heads_that_do_not_fit_are_answered_with_those_that_do() -> None:
    with pytest.raises(ValidationError, match=r"heads \(3\) must divide hidden \(16\): 1, 2 would fit"):
        roberta.Config(kind="roberta", vocabulary_size=300, layers=1, hidden=16, heads=3)


def test_hole_pooling_needs_a_hole_in_the_vocabulary() -> None:
    with pytest.raises(CodekdError, match="choose first, mean"):
        ROBERTA.build(Vocabulary(size=300, pad_id=1, mask_id=2, hole_id=None), classes=2, pooling="hole")


@pytest.mark.parametrize("architecture", [ROBERTA, BIGRU, CONV, *LEXICAL])
def test_weights_depend_on_the_seed_alone(architecture: Architecture) -> None:
    assert same_weights(student(architecture, "mean"), student(architecture, "mean"))
    assert not same_weights(student(architecture, "mean"), student(architecture, "mean", seed=1))


@pytest.mark.parametrize("module", ["roberta", "bigru", "conv"])
def test_definitions_import_nothing_heavy(module: str) -> None:
    code = f"import sys, codekd.models.architectures.{module}; print({{'torch', 'numpy'}} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# Pooling


def test_pooling() -> None:
    states = torch.arange(12.0).view(2, 3, 2)
    input_ids = torch.tensor([[9, 3, 3], [9, 8, 1]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert pool(states, input_ids, mask, "first", None).tolist() == [[0, 1], [6, 7]]
    assert pool(states, input_ids, mask, "mean", None).tolist() == [[2, 3], [7, 8]]
    assert pool(states, input_ids, mask, "max", None).tolist() == [[4, 5], [8, 9]]
    assert pool(-states, input_ids, mask, "max", None).tolist() == [[0, -1], [-6, -7]], "padding does not count"
    # The second example has no hole and falls back to its first token.
    assert pool(states, input_ids, mask, "hole", 3).tolist() == [[2, 3], [6, 7]]


def test_pooling_of_a_pair_compares_the_means_of_its_sides() -> None:
    states = torch.tensor([[[1.0, 2], [3, 4], [5, 0], [9, 9]]])
    mask, sides = torch.tensor([[1, 1, 1, 0]]), torch.tensor([[0, 0, 1, 0]])
    ids = torch.zeros(1, 4, dtype=torch.int64)
    assert pool(states, ids, mask, "pair", token_type_ids=sides).tolist() == [[3, 3, 10, 0]]
    with pytest.raises(CodekdError, match="needs token_type_ids"):
        pool(states, ids, mask, "pair")


# Both families


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_padding_changes_nothing(architecture: Architecture, pooling: str, dtype: torch.dtype) -> None:
    model = student(architecture, pooling).to(dtype)
    together = model(*batch()).logits
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    assert together.dtype == dtype
    torch.testing.assert_close(model(*batch(extra_padding=9)).logits, together, rtol=0, atol=tolerance)
    for row, length in enumerate(LENGTHS):
        alone = model(*(values[[row], :length] for values in batch())).logits
        torch.testing.assert_close(alone, together[[row]], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_saved_and_loaded_model_is_the_same(architecture: Architecture, pooling: str, tmp_path: Path) -> None:
    model = student(architecture, pooling)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert type(loaded) is type(model)
    assert not loaded.training
    assert same_weights(loaded, model)
    assert torch.equal(loaded(*batch()).logits, model(*batch()).logits)


@pytest.mark.parametrize(("architecture", "pooling"), FAMILIES)
def test_states_of_every_layer(architecture: Architecture, pooling: str) -> None:
    model = student(architecture, pooling)
    input_ids, mask, sides = batch()
    outputs = model(input_ids, mask, sides, output_hidden_states=True)
    width = 2 * architecture.hidden if architecture is BIGRU else architecture.hidden
    widths = [architecture.hidden, width, width]
    if isinstance(architecture, conv.Config):
        vectors = architecture.heads + (2 if pooling == "hole" else 1)
        assert outputs.features.shape[1] == (2 if pooling == "pair" else 1) * vectors * 12
    assert [states.shape for states in outputs.hidden_states] == [(*input_ids.shape, width) for width in widths]
    sized = 2 if pooling == "pair" else 1
    assert [states.shape for states in outputs.pooled] == [(len(LENGTHS), sized * width) for width in widths]
    read = outputs.features if isinstance(architecture, conv.Config) else outputs.pooled[-1]
    assert torch.equal(model.head(read), outputs.logits)
    assert torch.equal(model(input_ids, mask, sides).logits, outputs.logits)
    assert model(input_ids, mask, sides).hidden_states is None


# Lexemes


def naive_run_embedding(module: RunEmbedding, ids: Sequence[int]) -> list[list[float]]:
    """By the formula of docs/lexer.md, in Python's integers and floats."""
    prime, table = 2**31 - 1, module.rows.weight.double().tolist()
    found = []
    for start in range(len(ids)):
        total = [0.0] * len(table[0])
        for size in range(1, module.longest + 1):
            run = [*ids, *[0] * size][start : start + size]
            for number in range(module.hashes):
                factors = [742938285 ** (64 * size + 8 * number + place) % prime // 8 for place in range(size)]
                row = sum(lexeme * factor for lexeme, factor in zip(run, factors, strict=True)) % prime % len(table)
                total = [one + other for one, other in zip(total, table[row], strict=True)]
        found.append(total)
    return found


@pytest.mark.parametrize(("longest", "hashes"), [(1, 1), (3, 2), (5, 3)])
def test_embeddings_of_runs_are_those_of_the_naive_formula(longest: int, hashes: int) -> None:
    torch.manual_seed(0)
    module = RunEmbedding(buckets=50, width=4, longest=longest, hashes=hashes).double()
    ids, _ = lexical_batch(extra_padding=2)
    ids[0, 3], ids[0, 4] = 2**31 - 1, 2**31 - 2
    naive = [naive_run_embedding(module, row) for row in ids.tolist()]
    torch.testing.assert_close(module(ids), torch.tensor(naive, dtype=torch.float64))
    assert RunEmbedding(8192, 64, 3, 2).rows.weight.std().item() == pytest.approx(0.1, rel=0.01)


def test_no_sum_of_the_longest_run_exceeds_63_bits():
    module = RunEmbedding(buckets=2**20, width=1, longest=8, hashes=8)
    ids = torch.full((1, 8), 2**31 - 1)
    largest = max(multiplier(8, number, place) for number in range(8) for place in range(8))
    assert 8 * largest * (2**31 - 1) < 2**63 and largest > 2**27
    exact = [
        sum((2**31 - 1) * multiplier(size, number, place) for place in range(size)) % (2**31 - 1) % 2**20
        for size in range(1, 9)
        for number in range(8)
    ]
    assert module._buckets(ids)[0, 0].tolist() == exact


def test_rows_of_runs_are_spread_evenly_and_two_hashes_are_independent() -> None:
    module = RunEmbedding(buckets=1024, width=2, longest=2, hashes=2)
    ids = torch.arange(16, 16 + 2 * 65536).view(-1, 2)
    one, other, *_ = module._buckets(ids)[:, 0].unbind(-1)
    assert one.min() == 0 and one.max() == 1023
    expected = len(ids) / 1024
    for rows in (one, other):
        counts = torch.bincount(rows, minlength=1024).double()
        assert ((counts - expected).square() / expected).mean() < 1.3
    together = torch.bincount(one // 32 * 32 + other // 32).double()
    assert ((together - len(ids) / 1024).square() / (len(ids) / 1024)).mean() < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("architecture", "pooling"), LEXICAL_FAMILIES)
def test_padding_changes_nothing_for_lexemes(architecture: Architecture, pooling: str, dtype: torch.dtype) -> None:
    model = student(architecture, pooling).to(dtype)
    ids, mask = lexical_batch()
    outputs = model(ids, mask, output_hidden_states=True)
    assert outputs.logits.dtype == dtype and len(outputs.logits) == (3 if pooling == "pair" else 6)
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-14}[dtype]
    torch.testing.assert_close(model(*lexical_batch(9)).logits, outputs.logits, rtol=0, atol=tolerance)
    step = 2 if pooling == "pair" else 1
    for row in range(0, 6, step):
        longest = mask[row : row + step].sum(1).max()
        alone = model(ids[row : row + step, :longest], mask[row : row + step, :longest], output_hidden_states=True)
        torch.testing.assert_close(alone.logits[0], outputs.logits[row // step], rtol=0, atol=tolerance)
        for one, all_ in zip(alone.pooled, outputs.pooled, strict=True):
            torch.testing.assert_close(one[0], all_[row // step], rtol=0, atol=tolerance)


@pytest.mark.parametrize("pooling", ["pair", "max", "plain"])
@pytest.mark.parametrize("architecture", LEXICAL)
def test_sides_that_are_apart_are_compared_and_their_order_does_not_matter(
    architecture: Architecture, pooling: str
) -> None:
    how = architecture.plain_pooling if pooling == "plain" else pooling
    model = student(architecture, how, apart=True)
    ids, mask = lexical_batch()
    outputs = model(ids, mask, output_hidden_states=True)
    first, second = outputs.vectors[0::2], outputs.vectors[1::2]
    naive = torch.cat([(first - second).abs(), first * second], 1)
    assert torch.equal(outputs.features, naive) and torch.equal(model.head(naive), outputs.logits)
    swapped = [1, 0, 3, 2, 5, 4]
    torch.testing.assert_close(model(ids[swapped], mask[swapped]).logits, outputs.logits)
    rest = model(ids[2:4], mask[2:4]).vectors
    torch.testing.assert_close(rest, outputs.vectors[2:4])
    means = [(layer * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True) for layer in outputs.hidden_states]
    if pooling == "pair":
        for pooled, mean in zip(outputs.pooled, means, strict=True):
            expected = torch.cat([(mean[0::2] - mean[1::2]).abs(), mean[0::2] * mean[1::2]], 1)
            torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize(("architecture", "pooling"), LEXICAL_FAMILIES)
def test_a_student_of_lexemes_is_the_same_when_it_is_loaded(
    architecture: Architecture, pooling: str, tmp_path: Path
) -> None:
    model = student(architecture, pooling)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    assert same_weights(loaded, model) and loaded.num_parameters() == model.num_parameters()
    assert torch.equal(loaded(*lexical_batch()).logits, model(*lexical_batch()).logits)
    front = loaded.get_input_embeddings()
    assert isinstance(front, RunEmbedding) and front.rows.weight[1:].std() > 0.08, "of the size that it began with"


@pytest.mark.parametrize("architecture", LEXICAL)
def test_every_weight_of_a_student_of_lexemes_learns(architecture: Architecture) -> None:
    model = student(architecture, "pair").train()
    model(*lexical_batch()).logits.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_convolutions_see_the_place_of_the_hole_and_its_neighbourhood() -> None:
    model = student(LEXICAL[2], "hole")
    ids, mask = lexical_batch()
    states = model(ids[:1], mask[:1], output_hidden_states=True).hidden_states
    other = ids[:1].clone()
    other[0, 6] += 1
    changed = model(other, mask[:1], output_hidden_states=True).hidden_states
    unlike = [(one != two).any(-1)[0].nonzero().ravel().tolist() for one, two in zip(states, changed, strict=True)]
    # Runs of three begin two before; a convolution of five adds two on each side.
    assert unlike == [[4, 5, 6], [2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]]


def test_it_reads_tokens_or_lexemes() -> None:
    sizes = {"kind": "conv", "layers": 1, "hidden": 8}
    with pytest.raises(ValidationError, match=r"write `vocabulary_size: 2000` .* or `lexemes: \{\}`"):
        conv.Config(**sizes)
    with pytest.raises(ValidationError, match="not both: remove one, or write `vocabulary_size: null`"):
        conv.Config(**sizes, vocabulary_size=300, lexemes={})
    lexical = conv.Config(**sizes, vocabulary_size=None, lexemes={})
    assert (lexical.max_length, conv.Config(**sizes, vocabulary_size=300).max_length) == (128, 512)
    assert conv.Config(**sizes, lexemes={}, max_length=50).max_length == 50
    assert "vocabulary_size" not in lexical.settings() and "pooling" not in lexical.settings()
    assert "lexemes" not in ROBERTA.settings()
    with pytest.raises(ValidationError, match="write 3 or 5"):
        conv.Config(**sizes, lexemes={}, kernel=4)
    with pytest.raises(ValidationError, match=r"`attention` \(2\) is a number of the layers \(1\)"):
        conv.Config(**sizes, lexemes={}, attention=2)
    with pytest.raises(ValidationError, match=r"`heads` .* must divide `hidden`"):
        conv.Config(**sizes, lexemes={}, attention=1, heads=3)


# BiGRU


def test_bigru_equals_a_packed_bidirectional_gru() -> None:
    model = student(BIGRU, "final")
    assert isinstance(model, BiGRUForSequenceClassification)
    packed_gru = nn.GRU(BIGRU.hidden, BIGRU.hidden, BIGRU.layers, batch_first=True, bidirectional=True)
    packed_gru.load_state_dict(
        {
            f"{name.replace('_l0', f'_l{index}')}{suffix}": weights
            for index, layer in enumerate(model.layers)
            for gru, suffix in ((layer.ahead, ""), (layer.back, "_reverse"))
            for name, weights in gru.state_dict().items()
        }
    )
    input_ids, mask, _ = batch()
    packed = nn.utils.rnn.pack_padded_sequence(model.embedding(input_ids), torch.tensor(LENGTHS), batch_first=True)
    states, final = packed_gru(packed)
    states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)

    outputs = model(input_ids, mask, output_hidden_states=True)
    torch.testing.assert_close(outputs.hidden_states[-1], states)
    torch.testing.assert_close(outputs.pooled[-1], torch.cat([final[-2], final[-1]], dim=-1))
    assert all((layer[mask == 0] == 0).all() for layer in outputs.hidden_states)


# Pretrained encoders


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as published encoders are: in a folder, with a pooler."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=299, pad_token_id=1, **sizes)).save_pretrained(folder)
    return folder


def test_training_on_cpu_uses_another_attention_that_gives_the_same(bert: Path) -> None:
    model = EncoderForSequenceClassification.from_encoder(bert, 5, "hole", VOCABULARY, dropout=0.0)
    input_ids, mask, _ = batch()
    gradients = []
    for attention in ("sdpa", "eager"):
        model.zero_grad()
        assert model.encoder.config._attn_implementation == attention
        model(input_ids, mask).logits.square().sum().backward()
        gradients.append([weight.grad for weight in model.parameters() if weight.grad is not None])
        set_training_attention(model, Device(torch.device("cpu"), torch.float32))
    torch.testing.assert_close(*gradients)


def test_pretrained_encoder_keeps_its_weights_and_gains_a_token(bert: Path, tmp_path: Path) -> None:
    model = EncoderForSequenceClassification.from_encoder(bert, 5, "hole", VOCABULARY).eval()
    original = BertModel.from_pretrained(bert).eval()
    assert model.get_input_embeddings().num_embeddings == model.config.encoder.vocab_size == VOCABULARY.size
    assert torch.equal(model.get_input_embeddings().weight[:299], original.get_input_embeddings().weight)
    assert model.encoder.config._attn_implementation == "sdpa"
    assert not any("pooler" in name for name in model.state_dict())

    input_ids, mask, _ = batch()
    known = input_ids.clamp(max=298)
    states = model(known, mask, output_hidden_states=True).hidden_states
    torch.testing.assert_close(states, original(known, mask, output_hidden_states=True).hidden_states)

    model.save_pretrained(tmp_path)
    assert str(bert) not in (tmp_path / "config.json").read_text()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    assert torch.equal(loaded(input_ids, mask).logits, model(input_ids, mask).logits)


def test_unfit_folders_are_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(CodekdError, match="pads with token 1, its tokenizer with 0"):
        other = Vocabulary(size=300, pad_id=0, mask_id=2, hole_id=3)
        EncoderForSequenceClassification.from_encoder(bert, 5, "first", other)

    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    torch.save(BertModel.from_pretrained(bert).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CodekdError, match="no encoder in safetensors format"):
        EncoderForSequenceClassification.from_encoder(tmp_path, 5, "first", VOCABULARY)
