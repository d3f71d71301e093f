"""Model cards of trained models, and class names in their configs, for use outside of a study."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import AutoConfig

from codekd.models import register  # noqa: F401  (registers the classes)
from codekd.study.defaults import with_defaults
from codekd.study.manifest import read_manifest

if TYPE_CHECKING:
    from codekd.study.job import Job

Run = Callable[["Job", Path], dict[str, Any]]
TEMPLATE = Path(__file__).with_suffix(".md.j2")
SETTINGS = ("method", "architecture", "training")
"""Parts of a model's spec whose values a card lists in full, defaults included."""


def with_card(run: Run) -> Run:
    """Wrap a stage that trains a model, so that it writes the model's card as well.

    The card is no part of a model's identity: a better description makes no other model.
    """

    @wraps(run)
    def run_and_describe(job: "Job", folder: Path) -> dict[str, Any]:
        summary = run(job, folder)
        describe(job, folder, summary)
        return summary

    return run_and_describe


def describe(job: "Job", folder: Path, summary: dict[str, Any]) -> None:
    """Put class names into a model's ``config.json``, and write its card: ``README.md``, with metadata for model hubs.

    Args:
        job: the job that trained the model.
        folder: the model's folder.
        summary: the training stage's summary, with ``scores`` by split and metric.
    """
    reads = read_manifest(job.parents["encoded"])["spec"]
    classes = reads["classes"]
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: label for label, name in enumerate(classes)}
    config.save_pretrained(folder)
    task, teacher, *of_student = job.coordinates
    results = [
        EvalResult("text-classification", task, task, metric, value, dataset_split=split)
        for split, scores in summary["scores"].items()
        for metric, value in scores.items()
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["code", "codekd", *(["knowledge-distillation"] if of_student else [])],
        model_name="/".join(job.coordinates),
        eval_results=results,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name="/".join(job.coordinates),
        task=task,
        teacher=teacher,
        pair=len(reads["columns"]) == 2,
        hole=reads["has_hole"],
        student=dict(zip(("name", "method", "seed"), of_student, strict=False)),  # a teacher has none
        classes=classes,
        spec=job.spec,
        settings={key: value for key, value in with_defaults(job.spec).items() if key in SETTINGS},
        summary=summary,
        starts_from_code="start" in job.parents,
    )
    card.save(folder / "README.md")
