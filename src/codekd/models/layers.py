"""Which layer of a teacher a student's layer learns from. Light: signals and methods are planned with it."""

from codekd.errors import CodekdError


def teacher_layers(student: int, teacher: int) -> list[int]:
    """The teacher's layer for each of the student's layers 1 to ``student``, by uniform skip; the last meets the last.

    Layers count from 1, the embedding output is 0.

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
    """The layer in the middle of so many, the lower one of two; counted from 1."""
    return (layers + 1) // 2
