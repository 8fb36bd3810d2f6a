"""The section `tokens`: tokenizer and arrays."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)

from fim_assets.recipe.values import Section, Token, TokenId, commit

Layout = Literal["dolma", "megatron", "datatrove"]


def _label_mask(value: Any) -> Any:
    if value is not None and value != "middle":
        raise ValueError(
            "allowed: middle, which trains on the middles of rearranged files, or null, on all "
            "tokens"
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
        pad_token_id: What a trainer pads with; stands nowhere in the arrays.
        segment_before_tokenization: Whether texts are encoded paragraph by paragraph: line feeds
            and what follows them, up to the next line feeds.
    """

    name_or_path: Token = "allenai/dolma2-tokenizer"
    revision: Annotated[str, AfterValidator(commit)] | None = None
    bos_token_id: TokenId | None = None
    eos_token_id: Annotated[TokenId, BeforeValidator(_end_of_documents)] = 100257
    pad_token_id: TokenId | None = 100277
    segment_before_tokenization: bool = False


class Tokens(Section):
    """How the token arrays are written.

    Attributes:
        tokenizer: The tokenizer and its control ids.
        allow_lossy: Whether a tokenizer may be one that does not give every text back exactly.
        layout: Whose files the arrays are: `dolma` (`.npy`, `.csv.gz`), `megatron` (`.bin`,
            `.idx`) or `datatrove` (`.ds`, `.ds.index`, `.ds.metadata`).
        label_mask: `middle`: beside each array, which of its tokens are trained on; None: all are.
        dtype: Type of one token id in an array; the smallest that holds the vocabulary. Megatron
            knows no uint32 and gets int32.
        max_size: Tokens in one array file; a document never spans two.
        shuffle: Whether a partition's documents are mixed, by keyed draws.
    """

    tokenizer: Tokenizer = Tokenizer()
    allow_lossy: bool = False
    layout: Layout = "dolma"
    label_mask: Annotated[Literal["middle"] | None, BeforeValidator(_label_mask)] = None
    dtype: Literal["uint16", "uint32"] = "uint32"
    max_size: Annotated[int, Field(ge=1, le=1 << 53)] = 536870912
    shuffle: bool = True

    def identity(self) -> dict[str, Any]:
        """What decides the bytes, for fingerprints; a path where a layout's files hold one."""
        fields = self.model_dump(exclude_defaults=True)
        paths = {"revision"} if self.layout == "datatrove" else {"name_or_path", "revision"}
        for name in paths:
            fields.get("tokenizer", {}).pop(name, None)
        return {name: value for name, value in fields.items() if value != {}}
