"""What a teacher knows is captured in one pass, can be checked, and gives the loss that live states would give."""

import shutil
from dataclasses import replace

import naive_losses
import numpy as np
import polars as pl
import pytest
import torch
from data_stages import FINE_TUNED, code_columns, job_of, run_signals, run_stage
from safetensors.torch import load_file, save_file

from codekd.data.batches import load_encoded, load_units
from codekd.data.hole import HOLE
from codekd.data.splits import SHARD_ROWS, SPLITS, TRANSFER
from codekd.errors import CodekdError
from codekd.methods import ast, ckd
from codekd.models.architectures.base import Architecture, Lexemes
from codekd.models.architectures.conv import Config as Conv
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.device import Device
from codekd.signals import capture, finetuned, logits, pooled, relations, structure, verify
from codekd.signals.format import read_shard, read_signal, write_shard
from codekd.study.manifest import read_manifest, write_manifest
from codekd.training import student

CPU = torch.device("cpu")
TEACHER = RoBERTa(kind="roberta", vocabulary_size=500, max_length=96, layers=4, hidden=48, heads=4)
STUDENT = RoBERTa(kind="roberta", vocabulary_size=320, max_length=64, layers=2, hidden=32, heads=4)
LEXICAL = Conv(kind="conv", lexemes=Lexemes(buckets=400, width=24), max_length=40, layers=2, hidden=24)
ALL = (
    logits.Config(),
    pooled.Config(),
    relations.Config(layers=2),
    relations.Config(layers=2, units="token"),
    structure.Config(layers=2),
)


@pytest.fixture(scope="module", autouse=True)
def in_float32():
    """The same on every machine; what half precision does is tried where a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuned, "choose_device", lambda model: Device(CPU, torch.float32))
        yield


def write_examples(folder, columns, hole=False):
    """Functions of this project; the training split fills more than one shard."""
    folder.mkdir()
    for split in SPLITS:
        count = SHARD_ROWS + 3 if split == "train" else 5
        code = code_columns(columns, count)
        if hole:
            code = {"code": [one.replace("\n", f"\n    {HOLE}\n", 1) + f" # {HOLE}" for one in code["code"]]}
        frame = pl.DataFrame(code).with_columns(
            id=pl.int_range(count).cast(pl.String) + split,
            label=pl.lit(-1 if split == "unlabeled" else 1, dtype=pl.Int32),
            group=pl.lit("g"),
        )
        frame.write_parquet(folder / f"{split}.parquet")
    return folder


def stage(folder, name, architecture: Architecture, columns, examples, hole=False):
    """Tokenizer, sequences and an untrained model of one architecture; lexemes need no tokenizer."""
    spec = {"max_length": architecture.max_length, "classes": ["no", "yes"], "columns": columns, "has_hole": hole}
    parents = {"examples": examples}
    if architecture.lexemes:
        run_stage("codekd.data.encode_lexemes", folder / f"{name}-encoded", spec | {"language": "python"}, parents)
    else:
        bpe = {"size": architecture.vocabulary_size, "columns": {"t": columns}}
        run_stage("codekd.data.bpe", folder / f"{name}-tokenizer", bpe, {"examples/t": examples})
        parents |= {"tokenizer": folder / f"{name}-tokenizer"}
        run_stage("codekd.data.encode", folder / f"{name}-encoded", spec | {"prefix": []}, parents)
    torch.manual_seed(architecture.vocabulary_size or 0)
    vocabulary = load_encoded(folder / f"{name}-encoded", ["valid"]).vocabulary
    model = architecture.build(vocabulary, 2, "hole" if hole else "mean" if len(columns) == 1 else "pair")
    with torch.no_grad():
        for weight in model.parameters():
            # Small random weights make layers so alike that their distances are rounding.
            weight.mul_(1 if architecture.lexemes or weight.dim() == 1 else 10)
    model.save_pretrained(folder / f"{name}-model")
    return model.eval()


@pytest.fixture(scope="module", params=[("code",), ("code_a", "code_b")], ids=["code", "pair"])
def made(request, tmp_path_factory):
    folder, columns = tmp_path_factory.mktemp("capture"), list(request.param)
    examples = write_examples(folder / "examples", columns)
    sides = {"teacher": TEACHER, "student": STUDENT, "lexical": LEXICAL}
    models = {name: stage(folder, name, one, columns, examples) for name, one in sides.items()}
    run_stage(
        "codekd.data.lexemes", folder / "syntax", {"columns": columns, "language": "python"}, {"examples": examples}
    )
    return folder, models


def teacher_of(folder):
    return {
        "teacher": folder / "teacher-model",
        "encoded": folder / "teacher-encoded",
        "syntax": folder / "syntax",
    }


@pytest.mark.parametrize(
    ("name", "units"),
    [("student", "lexeme"), ("student", "token"), ("student", "node"), ("lexical", "lexeme"), ("lexical", "node")],
)
def test_the_loss_from_the_cache_is_that_of_live_states(made, name, units):
    folder, models = made
    compared(folder, models["teacher"], name, models[name], units)


@pytest.mark.parametrize("units", ["lexeme", "node"])
def test_the_loss_is_that_of_live_states_around_a_hole_as_well(tmp_path, units):
    examples = write_examples(tmp_path / "examples", ["code"], hole=True)
    sides = {"teacher": TEACHER, "lexical": LEXICAL}
    models = {name: stage(tmp_path, name, one, ["code"], examples, hole=True) for name, one in sides.items()}
    syntax = {"columns": ["code"], "language": "python"}
    run_stage("codekd.data.lexemes", tmp_path / "syntax", syntax, {"examples": examples})
    compared(tmp_path, models["teacher"], "lexical", models["lexical"], units)


def compared(folder, teacher, name_of_student, student, units):
    """The losses of a student by the cache are the naive ones of both models' live states, their gradient finite."""
    method = ast.Config() if units == "node" else ckd.Config(units=units, window=3)
    _, request = method.requests(layers=2)
    if not (folder / request.name).exists():
        run_signals("codekd.signals.capture", {folder / request.name: request}, teacher_of(folder))

    sides = []
    for name in ("teacher", name_of_student):
        encoded = folder / f"{name}-encoded"
        data = load_encoded(encoded, TRANSFER)
        sides.append(replace(data, units=load_units(units, data, encoded, folder / "syntax", TRANSFER)))
    live, here = sides
    signal = read_signal(folder / request.name, TRANSFER, request.kind, here.ids)
    here = replace(here, units=here.units.within(signal.first.ravel(), signal.count.ravel()))
    here = replace(here, signals={request.kind: signal})
    live = replace(live, units=live.units.within(here.units.first, here.units.count))
    assert live.ids == here.ids

    rows = np.array([1, SHARD_ROWS + 1, 5, len(here) - 1])
    states, present = [], True
    for data, model in ((live, teacher), (here, student)):
        batch = data.batch(rows, CPU)
        outputs = model(batch.input_ids, batch.attention_mask, batch.token_type_ids, output_hidden_states=True)
        layers = outputs.hidden_states[2::2] if model is teacher else outputs.hidden_states[1:]
        states.append(np.stack([batch.units.states(hidden).detach().double().numpy() for hidden in layers]))
        present = present & batch.units.mask.numpy()
    assert present.sum() > 40
    if units == "node":
        links = batch.units.parent.tolist(), batch.units.sibling.tolist()
        expected, losses = naive_losses.ast(states[1], states[0], present, *links), method.structure_losses
    else:
        expected, losses = naive_losses.ckd(states[1], states[0], present, window=3), method.relation_losses
    found = losses(outputs, batch)
    assert [loss.item() for loss in found] == pytest.approx(expected, rel=1e-3)
    sum(found).backward()
    gradients = [weight.grad for weight in student.parameters() if weight.grad is not None]
    assert all(one.isfinite().all() for one in gradients) and any(one.abs().max() > 0 for one in gradients)
    student.zero_grad()


@pytest.fixture(scope="module")
def captured(made):
    folder, _ = made
    folders = {folder / "all" / signal.name: signal for signal in ALL}
    run_signals("codekd.signals.capture", folders, teacher_of(folder))
    return folder, folders


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_one_pass_writes_what_a_pass_for_each_signal_writes(captured):
    folder, folders = captured
    for one, signal in folders.items():
        alone = folder / "alone" / signal.name
        run_signals("codekd.signals.capture", {alone: signal}, teacher_of(folder))
        assert bytes_of(alone) == bytes_of(one)
        shards = {"train-00000.parquet", "train-00001.parquet", "unlabeled-00000.parquet"}
        if signal.name == "logits":
            shards |= {"valid-00000.parquet", "test-00000.parquet"}
        assert bytes_of(one).keys() == shards, "no students learn from valid and test"


def test_what_is_captured_of_an_example_does_not_depend_on_the_batch(captured):
    folder, folders = captured
    teacher = finetuned.Teacher.load([job_of("capture", folder, {}, teacher_of(folder))])
    row = np.array([teacher_lengths(folder).argmin()])
    _, alone = teacher.signals(ALL, "train", 0, row)
    for rows, (path, signal) in zip(alone, folders.items(), strict=True):
        _, together = read_shard(path / "train-00000.parquet", signal.kind)
        together = together.take(row)
        np.testing.assert_allclose(rows.values, together.values, rtol=2e-3, atol=2e-3, err_msg=signal.name)


def teacher_lengths(folder):
    return load_encoded(folder / "teacher-encoded", ["train"], shard=0).lengths


def test_a_capture_that_is_killed_goes_on_with_the_shard_it_was_at(captured, monkeypatch):
    folder, folders = captured
    again = [folder / "again" / signal.name for signal in folders.values()]
    jobs = []
    for one, signal in zip(again, folders.values(), strict=True):
        one.mkdir(parents=True)
        jobs.append(job_of("capture", one, FINE_TUNED | {"signal": signal.model_dump()}, teacher_of(folder)))
    compute, passes = finetuned.Teacher.signals, []

    def killed(self, wanted, split, shard, rows=None):
        passes.append((split, shard))
        if len(passes) == 3:
            raise KeyboardInterrupt
        return compute(self, wanted, split, shard, rows)

    monkeypatch.setattr(finetuned.Teacher, "signals", killed)
    with pytest.raises(KeyboardInterrupt):
        capture.run(jobs, again)
    assert not any(bytes_of(one) for one in again)
    capture.run(jobs, again)
    assert passes[2:] == [("valid", 0), ("valid", 0), ("test", 0), ("unlabeled", 0)]
    assert [bytes_of(one) for one in again] == [bytes_of(one) for one in folders]


def check(folder, cached, signal):
    job = job_of(
        "verify", folder, FINE_TUNED | {"signal": signal.model_dump()}, teacher_of(folder) | {"signal": cached}
    )
    [summary] = verify.run([job], [folder])
    return summary


@pytest.mark.parametrize("signal", ALL, ids=lambda signal: signal.name)
def test_what_the_teacher_gives_now_is_what_was_captured(captured, signal):
    folder, _ = captured
    assert check(folder, folder / "all" / signal.name, signal)["difference"] < signal.tolerance / 2


def altered(cached, out, signal, change, summary=None):
    """What was captured, but for the values of its small split, and what its manifest says of it."""
    shutil.copytree(cached, out)
    path = out / "unlabeled-00000.parquet"
    ids, rows = read_shard(path, signal.kind)
    write_shard(path, signal.kind, ids, replace(rows, values=change(rows.values).astype(rows.values.dtype)))
    write_manifest(out, {"summary": read_manifest(cached)["summary"] | (summary or {})})
    return out


def off(values):
    return values + 0.1 * np.nanmax(np.abs(values.astype(float)))


ALL_UNLABELED = ", ".join(f"{row}unlabeled" for row in range(5))


@pytest.mark.parametrize("signal", ALL, ids=lambda signal: signal.name)
def test_rows_that_are_off_are_found_and_their_examples_named(captured, signal, tmp_path):
    folder, _ = captured
    # Of the small split all examples are in the sample.
    wrong = altered(folder / "all" / signal.name, tmp_path / "wrong", signal, off)
    with pytest.raises(
        CodekdError,
        match=rf"unlabeled-00000.parquet: 5 of 5 examples differ .* allowed: {ALL_UNLABELED}\. They were captured on "
        rf"cpu in float32, as the teacher runs now, .* delete {wrong} to capture them with",
    ):
        check(folder, wrong, signal)


def test_what_was_captured_elsewhere_is_not_called_damaged(captured, tmp_path):
    folder, _ = captured
    elsewhere = {"device": "NVIDIA A100", "unlabeled_precision": "bfloat16"}
    wrong = altered(folder / "all" / "logits", tmp_path / "wrong", logits.Config(), off, elsewhere)
    with pytest.raises(CodekdError, match="captured on NVIDIA A100 in bfloat16, and now the teacher runs on cpu in fl"):
        check(folder, wrong, logits.Config())


def test_the_tolerance_is_that_of_the_less_precise_of_both(captured, tmp_path):
    folder, _ = captured

    def rounded(values):
        return torch.from_numpy(values).bfloat16().float().numpy()

    def cached(precision):
        name, there = tmp_path / precision, {"unlabeled_precision": precision}
        return altered(folder / "all" / "logits", name, logits.Config(), rounded, there)

    found = check(folder, cached("bfloat16"), logits.Config())
    assert logits.Config.tolerance < found["difference"] < found["tolerance"] == 16 / 128
    in_float32 = {"device": "cpu", "precision": "float32"}
    assert found["captured"] == in_float32 | {"unlabeled_precision": "bfloat16"}
    assert found["precision"] == found["unlabeled_precision"] == "float32"
    with pytest.raises(CodekdError, match=r"where 0\.001 is allowed"):
        check(folder, cached("float32"), logits.Config())


def test_only_what_has_gaps_by_design_has_them_and_nothing_is_infinite(captured):
    folder, folders = captured
    for path, signal in folders.items():
        _, rows = read_shard(path / "unlabeled-00000.parquet", signal.kind)
        assert not np.isinf(rows.values).any() and np.isnan(rows.values).any() <= signal.gaps, signal.name
    _, rows = read_shard(folder / "all" / "structure-l2" / "unlabeled-00000.parquet", "structure")
    assert np.isnan(rows.values).any(), "a root has no parent"


def broken(folder, value):
    """A teacher of which one number of every state is a value."""
    shutil.copytree(folder / "teacher-model", folder / f"{value}-model")
    path = folder / f"{value}-model" / "model.safetensors"
    weights = load_file(path)
    weights["encoder.encoder.layer.0.output.LayerNorm.bias"][0] = value
    save_file(weights, path, {"format": "pt"})
    return teacher_of(folder) | {"teacher": folder / f"{value}-model"}


@pytest.fixture(scope="module")
def broken_teachers(captured):
    folder, _ = captured
    return {value: broken(folder, value) for value in (np.nan, 1e30)}


# Of large states the head's tanh makes small logits.
@pytest.mark.parametrize(
    ("signal", "value"),
    [*((signal, np.nan) for signal in ALL), *((signal, 1e30) for signal in ALL[1:])],
    ids=lambda one: getattr(one, "name", one),
)
def test_what_is_not_finite_is_not_captured(captured, broken_teachers, signal, value, tmp_path):
    with pytest.raises(
        CodekdError,
        match=rf"^teachers.teacher on task: its {signal.name} of 512 of 512 examples of train are not finite: "
        rf"0train, .*9train, \.\.\.\. If its training diverged, lower `learning_rate` in teachers.teacher.training",
    ):
        run_signals("codekd.signals.capture", {tmp_path / signal.name: signal}, broken_teachers[value])
    assert not any(tmp_path.glob("*/*.parquet"))


@pytest.mark.parametrize("signal", ALL, ids=lambda signal: signal.name)
def test_what_is_not_finite_is_not_verified(captured, broken_teachers, signal, tmp_path):
    """Not where teacher and cache agree about it either, as they did where an older version wrote it."""
    folder, _ = captured
    same = altered(folder / "all" / signal.name, tmp_path / "nan", signal, lambda values: values * np.nan)
    parents = broken_teachers[np.nan] | {"signal": same}
    job = job_of("verify", folder, FINE_TUNED | {"signal": signal.model_dump()}, parents)
    with pytest.raises(CodekdError, match="not finite"):
        verify.run([job], [folder])
    with pytest.raises(CodekdError, match="not finite" if not signal.gaps else "differ from what the teacher gives"):
        check(folder, same, signal)
    infinite = altered(folder / "all" / signal.name, tmp_path / "inf", signal, lambda values: values.clip(np.inf))
    with pytest.raises(CodekdError, match=r"unlabeled-00000.parquet: \d examples are not finite, \dunlabeled first"):
        check(folder, infinite, signal)


def test_another_order_of_examples_or_a_shard_too_few_is_found(captured, tmp_path):
    folder, _ = captured
    shutil.copytree(folder / "all" / "logits", tmp_path / "logits")
    path = tmp_path / "logits" / "test-00000.parquet"
    ids, rows = read_shard(path, "logits")
    write_shard(path, "logits", ids[::-1], rows)
    with pytest.raises(CodekdError, match=r"test-00000.parquet holds other examples than .*teacher-encoded"):
        check(folder, tmp_path / "logits", ALL[0])
    path.unlink()
    with pytest.raises(CodekdError, match="has 0 shards of test where there are 1"):
        check(folder, tmp_path / "logits", ALL[0])


def test_logits_of_unlabelled_examples_alone_are_in_the_machines_own_precision(captured, tmp_path, monkeypatch):
    folder, _ = captured
    rows = {}
    for precision in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(finetuned, "choose_device", lambda model, dtype=precision: Device(CPU, dtype))
        together = {tmp_path / f"{precision}" / one.name: one for one in ALL[:2]}
        [summary, of_states] = run_signals("codekd.signals.capture", together, teacher_of(folder))
        name = str(precision).removeprefix("torch.")
        assert summary == {"device": "cpu", "precision": "float32", "unlabeled_precision": name}
        assert of_states == {"device": "cpu", "precision": "float32"}
        rows[precision] = [bytes_of(one) for one in together]
        assert check(folder, next(iter(together)), ALL[0])["tolerance"] == (16 / 128 if name == "bfloat16" else 1e-3)
    (exact, exact_states), (half, half_states) = rows.values()
    assert {name for name in exact if exact[name] != half[name]} == {"unlabeled-00000.parquet"}
    assert exact_states == half_states


@pytest.mark.parametrize("limit", [0, 3, 100])
def test_states_are_kept_of_the_first_unlabelled_examples(captured, tmp_path, limit):
    folder, folders = captured
    limited = {tmp_path / signal.name: signal for signal in ALL}
    spec = FINE_TUNED | {"unlabeled_states": limit}
    jobs = []
    for one, signal in limited.items():
        one.mkdir()
        its = spec if signal.hidden_states else FINE_TUNED
        jobs.append(job_of("capture", one, its | {"signal": signal.model_dump()}, teacher_of(folder)))
    for one, summary in zip(limited, capture.run(jobs, [*limited]), strict=True):
        write_manifest(one, {"summary": summary})
    checked = [replace(job, parents={**job.parents, "signal": one}) for job, one in zip(jobs, limited, strict=True)]
    verify.run(checked, [*limited])
    train = load_encoded(folder / "teacher-encoded", TRANSFER, unlabeled=limit)
    assert len(train) == SHARD_ROWS + 3 + min(limit, 5)
    for (one, signal), everything in zip(limited.items(), folders, strict=True):
        found, whole = bytes_of(one), bytes_of(everything)
        few = signal.hidden_states and limit < 5
        assert {name for name in whole if found.get(name) != whole[name]} == (
            {"unlabeled-00000.parquet"} if few else set()
        )
        assert ("unlabeled-00000.parquet" in found) == (limit > 0 or not signal.hidden_states)
        here, there = (read_signal(path, TRANSFER, signal.kind, train.ids) for path in (one, everything))
        np.testing.assert_allclose(here.values, there.values, rtol=2e-3, atol=2e-3)
        if signal.unit:
            units = load_units(
                signal.unit, train, folder / "teacher-encoded", folder / "syntax", TRANSFER, unlabeled=limit
            )
            assert len(units.first) == here.first.size
    cell = {"method": {"kind": "ckd"}, "architecture": STUDENT.model_dump(), "classes": 2, "pooling": "mean", "seed": 1}
    read = {f"signals/{signal.kind}": one for one, signal in limited.items() if "token" not in one.name}
    parents = {"encoded": folder / "student-encoded", "syntax": folder / "syntax", **read}
    _, _, learned = student.prepare(job_of("student", tmp_path, cell | {"unlabeled": limit}, parents))
    assert len(learned) == len(learned.signals["relations"]) == len(train)
    assert learned.ids == train.ids and len(learned.units.first) == learned.signals["relations"].first.size
    longer = [replace(job, spec={**job.spec, "unlabeled_states": 4}) for job in checked if limit == 3]
    for job in longer[1:2]:
        with pytest.raises(CodekdError, match="holds other examples"):
            verify.run([job], [tmp_path])
