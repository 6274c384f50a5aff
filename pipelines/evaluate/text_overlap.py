"""Measure how much of the book's words a simulation repeats: BLEU and ROUGE-L, by the packages of CoSER's published scores.

Both compare the whole conversation as one text. BLEU is nltk's sentence BLEU of 4-grams without smoothing over the lower-case
words of NLTKWordTokenizer; ROUGE-L is the F measure of the package `rouge` (union of longest common subsequences by sentence).
A high overlap is no quality: two good scenes of one circumstance share few words.
"""

import logging
import re
import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

log = logging.getLogger(__name__)
_CHINESE = re.compile("([\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])")
_STOPS = str.maketrans("。！？；", "....")


class Overlap(NamedTuple):
    """Overlap of a simulation with the reference, each from 0 to 1; None where it cannot be measured."""

    bleu: float | None
    rouge_l: float | None


def require_packages() -> None:
    """Refuse a run that could not measure overlap at its end, before anything is paid for.

    Raises:
        ModuleNotFoundError: a package of the extra `evaluate` is not installed.
    """
    for name in ("nltk", "rouge"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def overlap(simulation: str, reference: str) -> Overlap:
    """Return the overlap of two conversations; 0 when one of them has no words."""
    if not simulation.strip(" .\n") or not reference.strip(" .\n"):
        return Overlap(0.0, 0.0)
    return Overlap(_bleu(_spaced(simulation), _spaced(reference)), _rouge(_spaced(simulation), _spaced(reference)))


def _spaced(text: str) -> str:
    """Return the text with Chinese characters apart: both packages know words by the spaces between them."""
    if not _CHINESE.search(text):
        return text
    return _CHINESE.sub(r" \1 ", text.translate(_STOPS))


def _bleu(simulation: str, reference: str) -> float:
    from nltk.translate.bleu_score import sentence_bleu

    words = _tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nltk warns where no 4-gram is shared; the value is 0 up to rounding, as published
        return float(sentence_bleu([words.tokenize(reference.lower())], words.tokenize(simulation.lower())))


@cache
def _tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def _rouge(simulation: str, reference: str) -> float | None:
    from rouge import Rouge

    try:
        return float(Rouge(metrics=["rouge-l"]).get_scores(simulation, reference)[0]["rouge-l"]["f"])
    except (RecursionError, ValueError) as error:  # a sentence of a thousand words; a text of nothing but full stops
        log.warning("ROUGE-L cannot be measured: %s", type(error).__name__)
        return None
