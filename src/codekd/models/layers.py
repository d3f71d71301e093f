"""Pairing of a student's layers with a teacher's. Imports nothing heavy: signals and methods are planned with it."""

from codekd.errors import CodekdError


def teacher_layers(student: int, teacher: int) -> list[int]:
    """Numbers of the teacher's layers that the student's layers learn from, by uniform skip; the last meets the last.

    Layers count from 1, the embedding output is 0.

    Args:
        student: number of the student's layers.
        teacher: number of the teacher's layers.

    Raises:
        CodekdError: the student has more layers than the teacher.
    """
    if student > teacher:
        raise CodekdError(
            f"a student of {student} layers cannot learn layer by layer from a teacher of {teacher}: "
            "choose a shallower student, a deeper teacher, or a method on logits"
        )
    return [layer * teacher // student for layer in range(1, student + 1)]


def middle_layer(layers: int) -> int:
    """Number of the middle layer of a model of ``layers`` layers, of two the lower; counted from 1."""
    return (layers + 1) // 2
