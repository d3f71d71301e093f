"""The training loop: reproducible, resumable, honest about its best epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from codekd.analysis.metrics import scores
from codekd.data.batches import Encoded
from codekd.errors import CodekdError
from codekd.methods import crd
from codekd.methods._contrast import Contrast
from codekd.methods.base import Sizes, hard_label_loss
from codekd.models.architectures.bigru import Config as BiGRU
from codekd.models.architectures.roberta import Config as RoBERTa
from codekd.models.device import Device, choose_device
from codekd.models.inference import predict
from codekd.models.vocabulary import Vocabulary
from codekd.study.training import Training
from codekd.training import checkpoint, loop, step

VOCABULARY = Vocabulary(size=300, pad_id=1, mask_id=4, hole_id=None, special_ids=(0, 1, 2, 3, 4))
SETTINGS = Training(epochs=3, learning_rate=5e-3, batch_size=16, word_dropout=0.1)
CPU = torch.device("cpu")
STUDENTS = {
    "roberta": RoBERTa(kind="roberta", vocabulary_size=300, max_length=32, layers=1, hidden=32, heads=2, dropout=0.1),
    "bigru": BiGRU(kind="bigru", vocabulary_size=300, max_length=32, layers=1, hidden=32, dropout=0.1),
}


def make_examples(count, seed):
    """Sequences whose label says whether the token 7 occurs."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(5, 30, size=count)
    labels = generator.integers(0, 2, size=count)
    sequences = []
    for length, label in zip(lengths, labels, strict=True):
        tokens = generator.integers(8, 300, size=length)
        if label:
            tokens[generator.integers(1, length - 1)] = 7
        tokens[0], tokens[-1] = 0, 2
        sequences.append(tokens)
    return Encoded(
        ids=[f"example{index}" for index in range(count)],
        labels=labels,
        tokens=np.concatenate(sequences).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        second_start=lengths.astype(np.int32),
        vocabulary=VOCABULARY,
        signals={},
    )


TRAIN, VALID = make_examples(200, 0), make_examples(80, 1)


def cross_entropy(output, batch, parts):
    return hard_label_loss(output.logits, batch)


def with_a_projection(output, batch, parts):
    """A loss with a layer of its own, which reads the student's states."""
    aim = torch.nn.functional.one_hot(batch.labels, 2).float()
    return cross_entropy(output, batch, parts) + (parts(output.pooled[-1].float()) - aim).square().mean()


TEACHER = torch.randn(len(TRAIN), 3, 8, generator=torch.Generator().manual_seed(3))
CRD = crd.Config(negatives=16)


def with_a_memory(output, batch, parts):
    """A loss that draws at random and whose buffers change with every batch."""
    return CRD.loss(output, replace(batch, teacher={"pooled": TEACHER[batch.rows]}), parts)


def fit(scratch, student="roberta", loss=cross_entropy, seed=1, settings=SETTINGS, parts=None, device=None):
    torch.manual_seed(seed)
    model = STUDENTS[student].build(VOCABULARY, 2, STUDENTS[student].pooling_for("code"))
    device = device or choose_device(model)
    scratch.mkdir(exist_ok=True)
    arguments = {"seed": seed, "metric": "accuracy", "device": device, "scratch": scratch, "name": "test"}
    remember = CRD.step_taken if isinstance(parts, Contrast) else lambda parts: None
    objective = step.Objective(loss, parts or torch.nn.Module(), parts is not None, step_taken=remember)

    def evaluate():
        return scores(VALID.labels, predict(model, VALID, device).argmax(1), 2)

    return loop.fit(model, objective, TRAIN, evaluate, settings, **arguments), model, device


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("student", STUDENTS)
def test_it_learns_and_the_same_seed_gives_the_same_bytes(student, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 6})
    run, model, device = fit(tmp_path / "a", student, settings=settings)
    again, *_ = fit(tmp_path / "b", student, settings=settings)
    other, *_ = fit(tmp_path / "c", student, seed=2, settings=settings)
    assert equal(run.last, again.last)
    assert equal(run.best, again.best)
    assert not equal(run.last, other.last)
    model.load_state_dict(run.best)
    accuracy = (predict(model, VALID, device).argmax(1) == VALID.labels).mean()
    assert accuracy == max(row["valid_accuracy"] for row in run.history) > 0.75


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("loss", [with_a_projection, with_a_memory])
def test_a_killed_run_resumes_and_ends_with_the_same_weights(epoch, loss, tmp_path):
    def parts():
        torch.manual_seed(7)
        sizes = Sizes((32, 32), {"pooled": (3, 8)}, len(TRAIN))
        return torch.nn.Linear(32, 2) if loss is with_a_projection else CRD.parts(sizes)

    undisturbed, *_ = fit(tmp_path / "a", loss=loss, parts=parts())

    steps = iter(range(10**6))

    def killed(output, batch, parts):
        if next(steps) == epoch * 13 + 5:
            raise KeyboardInterrupt
        return loss(output, batch, parts)

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", loss=killed, parts=parts())
    _, history = checkpoint.load(tmp_path / "b")
    assert len(history) == epoch
    resumed, *_ = fit(tmp_path / "b", loss=loss, parts=parts())
    assert equal(undisturbed.last, resumed.last)
    assert equal(undisturbed.best, resumed.best)
    assert [row["loss"] for row in undisturbed.history] == [row["loss"] for row in resumed.history]


def test_a_batch_says_which_examples_it_holds():
    batch = TRAIN.batch(np.array([5, 3, 8]), torch.device("cpu"))
    assert batch.rows.tolist() == [5, 3, 8]
    assert batch.labels.tolist() == TRAIN.labels[[5, 3, 8]].tolist()


def test_a_loss_that_is_not_finite_stops_with_step_and_examples(tmp_path):
    def diverging(output, batch, parts):
        return cross_entropy(output, batch, parts) / 0

    with pytest.raises(CodekdError, match=r"the loss is inf at step 0 .*example\d+.* Lower the learning rate"):
        fit(tmp_path / "a", loss=diverging)


def infinitely_steep(output, batch, parts):
    return cross_entropy(output, batch, parts) + (0 * output.logits.float().sum()).sqrt()


def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path):
    with pytest.raises(CodekdError, match=r"norm of the gradient is nan at step 0 .*example\d+.* no good state before"):
        fit(tmp_path / "a", loss=infinitely_steep)
    assert checkpoint.load(tmp_path / "a") is None


def test_in_half_precision_it_is_scaled_down_until_that_is_hopeless(tmp_path):
    half = Device(CPU, torch.float16)
    with pytest.raises(CodekdError, match=r"gradient is not finite at a scale of .* after step 25 \(epoch 2\)"):
        fit(tmp_path / "a", loss=infinitely_steep, device=half)


@pytest.mark.parametrize(
    ("learning_rate", "what"),
    [
        (1e30, r"the logits of 80 of 80 examples are not finite \(example0, .*example31, \.\.\.\)"),
        (1e39, "the weights .* not all finite"),
    ],
)
def test_what_is_not_finite_after_the_last_step_is_not_written(learning_rate, what, tmp_path):
    fit(tmp_path / "a", settings=SETTINGS.model_copy(update={"epochs": 1}))
    good = (tmp_path / "a" / checkpoint.FILE).read_bytes()
    last = SETTINGS.model_copy(
        update={"epochs": 2, "learning_rate": learning_rate, "batch_size": 200, "batch_tokens": 10**6}
    )
    with pytest.raises(CodekdError, match=rf"{what} after step 1 \(epoch 2\)\. .* after epoch 1, is kept"):
        fit(tmp_path / "a", settings=last)
    assert (tmp_path / "a" / checkpoint.FILE).read_bytes() == good


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_a_damaged_checkpoint_is_named_and_ignored(kept, tmp_path, caplog):
    undisturbed, *_ = fit(tmp_path / "a")
    path = tmp_path / "b" / checkpoint.FILE
    path.parent.mkdir()
    path.write_bytes((tmp_path / "a" / checkpoint.FILE).read_bytes()[:kept])
    again, *_ = fit(tmp_path / "b")
    assert f"{path} is damaged" in caplog.text
    assert equal(undisturbed.last, again.last)


@pytest.mark.parametrize("what", ["history", "best", "optimizer", "model"])
def test_a_checkpoint_of_another_run_is_named_and_ignored(what, tmp_path, caplog):
    undisturbed, *_ = fit(tmp_path / "a")
    parts, history = checkpoint.load(tmp_path / "a")
    if what == "history":
        history = []
    elif what == "model":
        parts["model"] = {name: value[:1] for name, value in parts["model"].items()}
    else:
        del parts[what]
    (tmp_path / "b").mkdir()
    checkpoint.save(tmp_path / "b", parts, history)
    again, *_ = fit(tmp_path / "b")
    assert "checkpoint.safetensors is damaged" in caplog.text
    assert equal(undisturbed.last, again.last)


def test_a_run_in_half_precision_resumes_with_the_scale_that_it_had(tmp_path):
    half, steps = Device(CPU, torch.float16), iter(range(10**6))

    def steep(output, batch, parts):
        return 100 * cross_entropy(output, batch, parts)

    def killed(output, batch, parts):
        if next(steps) == 13 + 5:
            raise KeyboardInterrupt
        return steep(output, batch, parts)

    undisturbed, *_ = fit(tmp_path / "a", loss=steep, device=half)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", loss=killed, device=half)
    parts, _ = checkpoint.load(tmp_path / "b")
    assert parts["scaler"]["scale"] < 2**16, "it was lowered"
    resumed, *_ = fit(tmp_path / "b", loss=steep, device=half)
    assert equal(undisturbed.last, resumed.last)


def test_the_history_has_the_time_that_passed_and_that_of_the_processor(tmp_path):
    run, *_ = fit(tmp_path / "a")
    assert all(row["seconds"] > 0 and row["cpu_seconds"] > 0 for row in run.history)


def test_of_equal_epochs_the_earlier_is_best():
    history = [{"epoch": epoch, "valid_f1": value} for epoch, value in enumerate([0.5, 0.7, 0.7, 0.6], start=1)]
    assert loop.best_epoch(history, "f1") == 2


def test_the_learning_rate_rises_then_falls_to_zero():
    factors = [loop.schedule(step, 100, 0.1) for step in range(101)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == max(factors) == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == 0
    assert min(factors[:100]) > 0


def test_word_dropout_spares_special_tokens():
    batch = TRAIN.batch(np.arange(100), torch.device("cpu"))
    torch.manual_seed(0)
    dropped = step.drop_words(batch, 0.5, VOCABULARY)
    special = batch.input_ids < 5
    assert (dropped[special] == batch.input_ids[special]).all()
    share = (dropped[~special] == VOCABULARY.mask_id).float().mean()
    assert 0.4 < share < 0.6
    assert step.drop_words(batch, 0.0, VOCABULARY) is batch.input_ids


@pytest.mark.parametrize("fits", [16, 5, 1])
def test_a_batch_that_does_not_fit_is_cut_and_has_the_gradient_of_the_whole(fits, tmp_path, monkeypatch):
    whole, *_ = fit(tmp_path / "whole")
    model_class = type(STUDENTS["roberta"].build(VOCABULARY, 2, "first"))
    forward, largest = model_class.forward, []

    def little_memory(self, input_ids, *arguments, **named):
        if self.training and len(input_ids) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.training:
            largest.append(len(input_ids))
        return forward(self, input_ids, *arguments, **named)

    monkeypatch.setattr(model_class, "forward", little_memory)
    cut, *_ = fit(tmp_path / "cut")
    assert cut.parts == {16: 1, 5: 4, 1: 16}[fits]
    assert [row["parts"] for row in cut.history] == 3 * [cut.parts]
    resumed, *_ = fit(tmp_path / "cut")
    assert resumed.parts == cut.parts, "a run that goes on knows"
    related = step.Objective(cross_entropy, relates_examples=True)
    assert cut.describe_parts(related) == {"parts_of_a_batch": cut.parts, "related_within_parts": cut.parts > 1}
    assert max(largest) == {16: 16, 5: 4, 1: 1}[fits]
    if fits == 16:
        assert equal(cut.last, whole.last)
    else:
        assert cut.history[0]["loss"] == pytest.approx(whole.history[0]["loss"], rel=0.05)


def test_an_example_that_does_not_fit_alone_is_an_error(tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(CodekdError, match="one example does not fit into memory"):
        fit(tmp_path, loss=no_memory)
