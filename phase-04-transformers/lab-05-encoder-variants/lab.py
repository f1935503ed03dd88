# labkit: lab 4.5, skeleton 21d2b3d719ad. Fill the TODOs; then: labkit check 4.5
"""An encoder (BERT) and an encoder-decoder (T5) from the blocks of lab 4.4, with the tasks that they are trained on.

python solution.py --preset smoke         everything once, in seconds
python solution.py                        GPT, BERT and T5 trained on one task, three times each

Shapes: B batch, T query time, S key time, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import run
from labkit.reference.mini_transformer import IGNORE, Attention, Block, GPTConfig, make_gelu, make_norm

PAD, EOS, MASK, SEP = 0, 1, 2, 3  # fills up rows; ends a text; hides a token; stands between two texts
FIRST = 4  # ordinary tokens begin here; sentinels, where there are any, are the last ids of the vocabulary

PRESETS = {
    "smoke": {"steps": 3, "checks": 2, "seeds": 1, "examples": 16, "width": 16, "workers": 1},
    "cpu": {"steps": 1_200, "checks": 30, "seeds": 3, "examples": 500, "width": 64, "workers": 2},
    "full": {"steps": 5_000, "checks": 50, "seeds": 5, "examples": 5_000, "width": 128, "workers": 2},
}


# ---------------------------------------------------------------- who may look at whom


def padding_mask(real: Tensor, causal: bool = False) -> Tensor:
    """Which keys a query may look at, in a batch whose rows have different lengths.

    real: (B, S) bool, True = a token, False = padding, which may stand anywhere in the row
    -> bool, True = may look.   causal False: (B, 1, 1, S), every query may look at the real keys of its row
    causal True: (B, 1, S, S), query t at the real keys s <= t.   The axis of size 1 is that of the heads.
    Raises ValueError naming real unless it is bool with two axes.
    """
    # TODO padding-mask (~6 lines): check; add the axes of heads and queries; causal: a triangle as well
    raise NotImplementedError("TODO padding-mask")
    # END TODO padding-mask


# ---------------------------------------------------------------- what is to be learned


def shift_right(targets: Tensor) -> Tensor:
    """What the decoder reads while it learns to write `targets`: at each place, the token before.

    targets: (B, T) int64, with IGNORE where there is nothing to learn; left as it is
    -> (B, T) int64. Place 0 is PAD, which is how T5 starts every text; place t is targets[:, t - 1], with PAD for
    IGNORE, for no table has a row -100.
    """
    # TODO shift-right (~3 lines): a start in front, the last one dropped, nothing negative
    raise NotImplementedError("TODO shift-right")
    # END TODO shift-right


def mask_tokens(
    ids: Tensor, special: Tensor, choose: Tensor, change: Tensor, strangers: Tensor, rate: float = 0.15
) -> tuple[Tensor, Tensor]:
    """BERT's task: of some tokens it is asked what they were. The dice have been thrown already.

    ids, strangers: (B, T) int64   special: (B, T) bool   choose, change: (B, T) float in [0, 1)
    A place is chosen if it is not special and choose < rate. Of the chosen places, those with
        change < 0.8             show MASK
        0.8 <= change < 0.9      show the token of `strangers` at the same place
        change >= 0.9            show what they are
    and all other places show what they are.
    -> inputs (B, T): what is shown;   labels (B, T): ids where a place was chosen, else IGNORE.   ids stays as it is.
    Devlin et al. 2018, section 3.1
    """
    # TODO mask-tokens (~5 lines): who is chosen, what is asked, what is shown
    raise NotImplementedError("TODO mask-tokens")
    # END TODO mask-tokens


def corrupt_spans(ids: Tensor, hidden: Tensor, first_sentinel: int) -> tuple[Tensor, Tensor]:
    """T5's task: each run of hidden tokens becomes one sentinel in the input; the target spells the runs out.

        ids      a b c d e f g h      hidden   b c and g      s0 = first_sentinel, s1 = s0 - 1, s2 = s0 - 2
        inputs   a s0 d e f s1 h EOS
        targets  s0 b c s1 g s2 EOS           the sentinel that no run has is the sign that there are no more runs

    ids: (T,) int64   hidden: (T,) bool, any number of runs, also at the ends, also none
    -> inputs, targets: 1-D int64.   Raises ValueError naming hidden unless it is bool of ids' shape.
    Raffel et al. 2020, section 3.1.4
    """
    # TODO corrupt-spans (~12 lines): walk along; a run begins where hidden follows visible
    raise NotImplementedError("TODO corrupt-spans")
    # END TODO corrupt-spans


# ---------------------------------------------------------------- the models


def draw_weights(model: nn.Module) -> None:
    """Matrices from N(0, 0.02²), biases 0; norms stay as they were made."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)


def bert_config(**sizes: Any) -> GPTConfig:
    """GPT-2's parts with three things changed: nothing is causal, norms follow the sums, eps is 1e-12.

    `gelu="exact"` makes it transformers' BERT; the first BERT of 2018 has the tanh form, as GPT-2.
    """
    return GPTConfig(**({"causal": False, "norm_position": "post", "norm_eps": 1e-12} | sizes))


class MiniBERT(nn.Module):
    """An encoder that says, for every place, which token stands there.      Devlin et al. 2018

    embedding: (V, D)   position_embedding: (block_size, D)   segment_embedding: (2, D)   embedding_norm: of their sum
    blocks: of lab 4.4   head_dense: D -> D   head_gelu: no weights   head_norm: D   head_bias: (V,)
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if config.causal or config.pos != "learned":
            raise ValueError(f"config: expected causal=False, pos='learned', got {config.causal}, {config.pos!r}")
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.block_size, config.d_model)
        self.segment_embedding = nn.Embedding(2, config.d_model)
        self.embedding_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.head_dense = nn.Linear(config.d_model, config.d_model)
        self.head_gelu = make_gelu(config)  # in the form of the blocks
        self.head_norm = make_norm(config)
        self.head_bias = nn.Parameter(torch.zeros(config.vocab_size))
        draw_weights(self)

    def features(self, tokens: Tensor, real: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """One vector for every place, made from the whole row.

        tokens: (B, T) int64, T <= block_size   real: (B, T) bool, False = padding; None: there is none
        segments: (B, T) int64, 0 for the first text of a row, 1 for the second; None: all 0
        -> (B, T, D). Three embeddings are added: of the token, of its position 0 ... T - 1, of its segment. Then
        `embedding_norm`, `dropout` (once, here), and the blocks, `block(x, mask=...)`. What comes out at a real place
        does not depend on what stands at padding; what comes out at padding means nothing.
        """
        # TODO encoder (~8 lines): three embeddings, their norm, dropout, the blocks with the mask
        raise NotImplementedError("TODO encoder")
        # END TODO encoder

    def forward(
        self, tokens: Tensor, labels: Tensor | None = None, real: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """logits = head_norm(head_gelu(head_dense(features))) · embedding.weightᵀ + head_bias

        tokens, real, segments: as `features` takes them   labels: (B, T) int64, what stood at each place, or IGNORE
        -> logits (B, T, V), and the mean cross-entropy in nats over the labels that count: 0 if none does (a short
        batch may have none), None without labels.
        """
        # TODO masked-lm (~7 lines): the head, with the embedding's own matrix; a mean that 0 labels do not break
        raise NotImplementedError("TODO masked-lm")
        # END TODO masked-lm


class CrossBlock(Block):
    """A decoder's block: lab 4.4's, with a third branch between its two, in which the text asks the encoder.

    Pre-norm. attention_norm, attention, mlp_norm, mlp, dropout: lab 4.4's   cross_norm, cross_attention: the third
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.cross_norm, self.cross_attention = make_norm(config), Attention(config)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """x: (B, T, D)   memory: (B, S, D), the encoder's output, normalised already -> (B, T, D)

        memory_mask: bool, broadcasts to (B, H, T, S), True = may look; None: all
        Each branch reads the stream through its own norm and adds to it, through `dropout`: self-attention (causal by
        itself), cross-attention from the text to the memory, MLP. The attention layers are lab 4.4's:
        `attention(x, rotation=None, mask=None, context=None)`; with a context nothing is causal.
        """
        # TODO cross-block (~4 lines): three branches, in the order of the docstring
        raise NotImplementedError("TODO cross-block")
        # END TODO cross-block


class MiniT5(nn.Module):
    """An encoder that reads in both directions, a decoder that writes and looks at what was read. After Raffel et al.
    2020, with learned positions in place of T5's relative ones.

    One table of tokens and one of positions serve both sides; the table of tokens is also the head.
    config: a causal one, for the decoder; the encoder has as many layers, and is not causal
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        if not config.causal or config.pos != "learned" or config.norm_position != "pre":
            raise ValueError(f"config: expected causal=True, pos='learned', norm_position='pre', got {config}")
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.block_size, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(Block(replace(config, causal=False)) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(CrossBlock(config) for _ in range(config.n_layers))
        self.encoder_norm, self.decoder_norm = make_norm(config), make_norm(config)
        draw_weights(self)

    def embed(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.size(1), device=tokens.device)
        return self.dropout(self.embedding(tokens) + self.position_embedding(positions))

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """source: (B, S) int64   mask: as `padding_mask` makes it -> memory (B, S, D)"""
        x = self.embed(source)
        for block in self.encoder:
            x = block(x, mask=mask)
        return self.encoder_norm(x)

    def decode(self, tokens: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """tokens: (B, T) int64, what has been written so far -> logits (B, T, V) of what comes after each

        Padding on the right of a text needs no mask: nothing before it can see it.
        """
        x = self.embed(tokens)
        for block in self.decoder:
            x = block(x, memory, memory_mask)
        return F.linear(self.decoder_norm(x), self.embedding.weight)

    def forward(self, source: Tensor, targets: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """source: (B, S) int64   targets: (B, T) int64, or IGNORE   real: (B, S) bool, False = padding of the source
        -> logits (B, T, V), and the mean cross-entropy in nats over the targets that count
        """
        mask = None if real is None else padding_mask(real)
        logits = self.decode(shift_right(targets), self.encode(source, mask), mask)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.encoder_variants import encoder_variants_report  # the file beside this one

    encoder_variants_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
