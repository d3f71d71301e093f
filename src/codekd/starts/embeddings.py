"""Token embeddings made by a teacher, after model2vec (github.com/MinishLab/model2vec).

Each token's text runs alone through a pretrained encoder; its states are brought to the student's width by principal
components. It takes seconds, and works across tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from codekd.starts.base import Start

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel


class Config(Start):
    """``E = scale W PCA(X)``, with the mean last state of a token's pieces in each row of ``X``.

    ``scale`` gives the rows the standard deviation of those that the architecture draws. Tokens without text of their
    own - special ones, white space, parts of a character - keep what was drawn. ``W`` is 1, or with ``sif`` smooth
    inverse frequencies (Arora et al. 2017) ``sif / (sif + p)``, with ``p`` proportional to ``1 / (rank + 2)`` by Zipf's
    law. The rank is the token's id: a BPE learns frequent pairs first, but its single bytes come before them all.
    """

    kind: Literal["embeddings"] = "embeddings"
    teacher: str = Field(description="Name of the teacher whose encoder is asked, adapted where it has `adaptation`.")
    sif: float | None = Field(
        None, gt=0, description="Weight tokens by rank, such as 1e-4 in model2vec; null does not."
    )

    @property
    def teachers(self) -> tuple[str, ...]:
        """Name of the teacher whose encoder makes the embeddings."""
        return (self.teacher,)

    def begin(self, model: PreTrainedModel, parents: Mapping[str, Path], spec: Mapping[str, Any]) -> dict[str, Any]:
        """Put the teacher's embeddings of the tokens into the student, and return how many and of what width."""
        import torch

        weight = model.get_input_embeddings().weight
        rows, states = token_states(parents["tokenizer"], parents["pretrained"], spec["prefix"])
        made = principal_components(states, weight.shape[1])
        if self.sif is not None:
            made *= zipf_weights(len(weight), self.sif)[rows][:, None]
        drawn = weight.detach()[torch.from_numpy(rows), : made.shape[1]].double()
        made *= drawn.numpy().std() / made.std()
        with torch.no_grad():
            weight[torch.from_numpy(rows), : made.shape[1]] = torch.from_numpy(made).to(weight.dtype)
        return {"embeddings": len(rows), "components": made.shape[1]}


def token_states(tokenizer: Path, encoder: Path, prefix: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens of a tokenizer that have text of their own, and a pretrained encoder's states of it.

    Args:
        tokenizer: folder of the student's tokenizer.
        encoder: folder of the encoder.
        prefix: tokens that the encoder wants before the text.

    Returns:
        Ids ``(tokens,)`` and states ``(tokens, width)``: means over the encoder's pieces, special tokens and ``prefix``
        left out.
    """
    import numpy as np

    from codekd.data.batches import Encoded
    from codekd.data.encode import Encoding
    from codekd.models.inference import outputs
    from codekd.models.pooling import pool
    from codekd.models.vocabulary import load_tokenizer, read_vocabulary
    from codekd.signals.pretrained import load_encoder

    own = load_tokenizer(tokenizer)
    special = read_vocabulary(tokenizer).special_ids
    texts = [own.backend_tokenizer.decode([token], skip_special_tokens=False) for token in range(len(own))]
    encoding = Encoding(load_tokenizer(encoder), {"max_length": LONGEST, "has_hole": False, "prefix": prefix})
    encoded = {
        token: encoding.row(text)
        for token, text in enumerate(texts)
        if token not in special and text.strip() and REPLACED not in text
    }
    # Only pieces with characters are averaged: special tokens have none.
    encoded = {token: row for token, row in encoded.items() if (row["starts"] >= 0).any()}
    data = Encoded.of_rows([*encoded.values()], read_vocabulary(encoder))
    pieces = [row["starts"] >= 0 for row in encoded.values()]
    model, device = load_encoder(encoder)
    states = np.empty((len(data), model.config.encoder.hidden_size))
    for rows, batch, output in outputs(model, data, device, hidden_states=True):
        mask = batch.attention_mask.clone()
        for place, row in enumerate(rows):
            mask[place, : len(pieces[row])] *= mask.new_tensor(pieces[row].astype(np.int64))
        assert output.hidden_states is not None
        states[rows] = pool(output.hidden_states[-1], batch.input_ids, mask, "mean").double().cpu().numpy()
    return np.array([*encoded], dtype=np.int64), states


def principal_components(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """First principal components of ``rows`` ``(rows, features)``, ``width`` of them or as many as there are.

    Returns:
        ``(rows, components)``; the largest weight of each component is positive, so that it is the same everywhere.
    """
    import numpy as np

    centred = rows - rows.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:width]
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1))
    components: NDArray[np.float64] = centred @ axes.T
    return components


def zipf_weights(tokens: int, sif: float) -> NDArray[np.float64]:
    """Smooth inverse frequencies ``(tokens,)`` of tokens in the order of their frequency, which follows Zipf's law."""
    import numpy as np

    shares = 1 / np.arange(2, tokens + 2)
    weights: NDArray[np.float64] = sif / (sif + shares / shares.sum())
    return weights


LONGEST = 64
"""Largest number of pieces that are read of a token's text."""

REPLACED = "�"
"""Character that stands in decoded text for bytes that are no character."""
