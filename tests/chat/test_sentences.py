"""her/chat/sentences.py: what a visitor may read of an error holds no address, path, user or host of the server."""

import pytest

from her.chat.sentences import FULL_DISK, NO_DATABASE, visitor_sentence
from her.errors import BackendError, HerError, InputError, NotFound, StoreError

SECRETS = ("10.0.0.5", "8000", "gpu-box", "s3cret", "/srv/", "operator", "5432", "router.example.org", "C:\\", "::1")


@pytest.mark.parametrize(
    ("error", "spec", "sentence"),
    [
        (StoreError("the database 'postgresql://operator:s3cret@10.0.0.5:5432/her' cannot be used"), "", NO_DATABASE),
        (StoreError("the database '/srv/her/her.sqlite3' is on a full disk, nothing was saved"), "", FULL_DISK),
        (
            BackendError("10.0.0.5:8000 (model 'qwen') refused the connection; start the server.", "unreachable"),
            "",
            "the model's server (model 'qwen') refused the connection; start the server.",
        ),
        (
            BackendError("gpu-box (model 'qwen') has no chat route here.", "not_found"),
            "openai:http://gpu-box/v1#qwen",
            "the model's server (model 'qwen') has no chat route here.",
        ),
        (
            BackendError("'openai:https://router.example.org/v1#m' asks to slow down", "rate_limited"),
            "",
            "'the model's server' asks to slow down",
        ),
        (
            BackendError("local model '/srv/models/her 1': there is no such folder", "not_found"),
            "local:/srv/models/her 1",
            "local model '…': there is no such folder",
        ),
        (BackendError(r"C:\models\her is not a checkpoint.", "not_found"), "", "… is not a checkpoint."),
        (BackendError("[::1]:8000 gave up waiting; try again.", "timeout"), "", "the model's server gave up waiting; try again."),
        (
            BackendError("gpu-box:8000 says: cannot open /srv/models/x.gguf", "server_error"),
            "openai:http://gpu-box:8000/v1",
            "the model's server says: cannot open …",
        ),
    ],
)
def test_a_visitor_reads_no_address(error: HerError, spec: str, sentence: str) -> None:
    told = visitor_sentence(error, spec)
    assert told == sentence
    assert not [secret for secret in SECRETS if secret in told]


@pytest.mark.parametrize(
    "error",
    [
        InputError("field 'text' is '/me waves and/or nods'; write less"),
        NotFound("there is no persona 'a/b/c' here"),
        BackendError("the model used all 2,048 tokens on its reasoning; at 1/2 of 10:30 ask again", "empty"),
    ],
)
def test_what_was_written_for_visitors_stays(error: HerError) -> None:
    assert visitor_sentence(error) == str(error)
