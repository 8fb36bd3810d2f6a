"""The section `tokens`: tokenizer and arrays."""

import json
import operator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe.values import Section, Token, TokenId, commit, one_of

LayoutName = Annotated[str, one_of(LAYOUTS.keys)]


def _label_mask(value: Any) -> Any:
    if value not in (None, "middle", "text"):
        raise ValueError(
            "allowed: middle, which trains on the middles of rearranged files, text, on all but "
            "padding and the EOS of pieces that end no text, or null, on all tokens"
        )
    return value


def _align(value: Any) -> Any:
    if value != "pad" and not isinstance(value, bool):
        raise ValueError(
            "allowed: true, which orders documents so that no sequence cuts a rearranged one, "
            "pad, which pads where no order does it, or false"
        )
    return value


def _end_of_documents(value: Any) -> Any:
    if value is None:
        raise ValueError("every document ends in EOS, or trainers could not tell documents apart")
    return value


class Tokenizer(Section):
    """Which tokenizer, and the ids that mark a document's ends.

    Attributes:
        name_or_path: A bundled tokenizer's name, a folder, or a name on the Hugging Face Hub.
        revision: The Hub's commit, 40 hex digits, for a name on the Hub.
        bos_token_id: Begins every document; None: nothing does.
        eos_token_id: Ends every document.
        pad_token_id: What a trainer pads with; stands nowhere in the arrays unless `tokens.align`
            is `pad`.
        segment_before_tokenization: Whether texts are encoded paragraph by paragraph: line feeds
            and what follows them, up to the next line feeds.
    """

    name_or_path: Token = "allenai/dolma2-tokenizer"
    revision: Annotated[str, AfterValidator(commit)] | None = None
    bos_token_id: TokenId | None = None
    eos_token_id: Annotated[TokenId, BeforeValidator(_end_of_documents)] = 100257
    pad_token_id: TokenId | None = 100277
    segment_before_tokenization: bool = False

    @property
    def head(self) -> int:
        """Ids in front of a document's text: 1 if documents begin with BOS, else 0."""
        return 0 if self.bos_token_id is None else 1


class Tokens(Section):
    """How the token arrays are written.

    Attributes:
        allow_lossy: Whether a tokenizer may be one that does not give every text back exactly.
        layout: One of `LAYOUTS`: which trainer's files the arrays are.
        label_mask: Which tokens are trained on, in a file next to each array. `middle`: of a
            rearranged file its middle; `text`: all but padding and the EOS of pieces behind which
            their document goes on; None: all, and there is no such file.
        dtype: Type of one token id in an array; the smallest that holds the vocabulary. Megatron
            knows no uint32 and gets int32.
        max_size: Tokens in one array file, without padding; a document never spans two.
        shuffle: Whether a partition's documents are mixed, by keyed draws.
        align: Whether documents are ordered so that no rearranged one crosses a multiple of
            `context.tokens` in its array; `pad`: where the order cannot do it, padding does.
    """

    tokenizer: Tokenizer = Tokenizer()
    allow_lossy: bool = False
    layout: LayoutName = "dolma"
    label_mask: Annotated[Literal["middle", "text"] | None, BeforeValidator(_label_mask)] = None
    dtype: Literal["uint16", "uint32"] = "uint32"
    max_size: Annotated[int, Field(ge=1, le=1 << 53)] = 536870912
    shuffle: bool = True
    align: Annotated[
        bool | Literal["pad"], BeforeValidator(_align), Field(exclude_if=operator.not_)
    ] = False

    @model_validator(mode="after")
    def _check_align(self) -> Self:
        layout, padding = LAYOUTS[self.layout], self.tokenizer.pad_token_id
        marks = {self.tokenizer.bos_token_id, self.tokenizer.eos_token_id}
        problem = ""
        if self.align and not layout.keeps_order:
            problem = (
                f"{layout.trainer} has an order of its own for the documents of {self.layout}; "
                "leave align out, or take another layout"
            )
        elif self.align == "pad" and not layout.has_gaps:
            problem = f"padding would belong to a document in the index of {self.layout}"
        elif self.align == "pad" and self.label_mask is None:
            problem = "padding would be trained on without tokens.label_mask"
        elif self.align == "pad" and (padding is None or padding in marks):
            problem = "tokens.tokenizer.pad_token_id must be an id that is neither BOS nor EOS"
        if problem:
            raise ValueError(f"align = {json.dumps(self.align)}: {problem}")
        return self

    def identity(self) -> dict[str, Any]:
        """Its part of fingerprints: fields that are not at their defaults and decide the bytes.

        Where the tokenizer is found is left out, unless the layout's files say it.
        """
        fields = self.model_dump(exclude_defaults=True)
        for name in {"name_or_path", "revision"} - LAYOUTS[self.layout].identity:
            fields.get("tokenizer", {}).pop(name, None)
        return {name: value for name, value in fields.items() if value != {}}
