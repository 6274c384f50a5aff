"""her/deploy/hub/checks.py and secrets.py: what must not leave the machine."""

import math
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest

from her.deploy.hub import checks
from her.deploy.hub.publishing import PublicationOptions, prepare
from her.deploy.hub.secrets import safetensors_header
from her.errors import InputError
from her.store import Store
from tests.hub_runs import CARD, model_files, tensors, write_run


def refused(home: Path, files: dict[str, bytes], message: str, **options: object) -> None:
    write_run(home, "player", {**model_files(), **files})
    with pytest.raises(InputError, match=message):
        prepare("player", "ada/her", PublicationOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "modeling_her.py", "x.pkl", "x.ckpt", "x.so", "blob"])
def test_code_and_pickles(home: Path, name: str) -> None:
    refused(home, {f"model/{name}": b"x"}, f"'{name}' is not sent")


def test_remote_code(home: Path) -> None:
    refused(home, {"model/config.json": b'{"a": [{"auto_map": {"AutoModel": "x.Y"}}]}'}, r"asks for code .*\(auto_map\)")
    refused(home, {"model/config.json": b"{"}, "'config.json' is not JSON")


def test_torn_weights(home: Path) -> None:
    refused(home, {"model/model.safetensors": tensors()[:-3]}, "has 131 bytes and should have 134|should have")
    refused(home, {"model/model.safetensors": b"PK\x03\x04" * 9}, "not a whole safetensors file")
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    refused(
        home,
        {"model/model.safetensors": tensors(), "model/model.safetensors.index.json": index},
        "2 of 2 weight files are missing",
    )


def test_a_model_that_collapsed(home: Path) -> None:
    numbers = {
        "F32": (struct.pack("<3f", 1.0, -3e38, 0.0), struct.pack("<3f", 1.0, math.nan, 0.0)),
        "F16": (struct.pack("<2e", 65504.0, -1.0), struct.pack("<2e", 1.0, -math.inf)),
        "BF16": (struct.pack("<2H", 0x7F7F, 0xBF80), struct.pack("<2H", 0x3F80, 0x7FC0)),
    }
    for dtype, (honest, collapsed) in numbers.items():
        refused(
            home, {"model/model.safetensors": tensors(collapsed, dtype=dtype)}, "tensor 'weight' holds infinity or not-a-number"
        )
        write_run(home, "player", {**model_files(), "model/model.safetensors": tensors(honest, dtype=dtype)})
        assert prepare("player", "ada/her", PublicationOptions()).manifest.files
    (home / "runs" / "player" / "metrics.jsonl").write_text('{"step": 3, "loss": 2.0}\n{"step": 4, "loss": NaN}\n')
    with pytest.raises(InputError, match="recorded loss = nan at step 4: it collapsed"):
        prepare("player", "ada/her", PublicationOptions())


def test_a_file_over_the_limits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MOST_BYTES", 60)
    refused(home, {}, "has 78 bytes and 60 are the most|are the most; save it in shards")
    monkeypatch.setattr(checks, "MOST_FILES", 3)
    refused(home, {}, "5 files would be sent, and 3 are the most")


SECRETS = {
    "hf_" + "a1B2" * 8: "Hugging Face token",
    "sk-" + "a1B2" * 8: "API key",
    "AKIA" + "ABCD" * 4: "AWS key",
    "-----BEGIN RSA PRIVATE KEY-----": "private key",
    "postgresql://ada:tiger@db/her": "password",
    "ada.lovelace@analytical.org": "e-mail address",
    "/home/ada/secret": "home folder",
}


@pytest.mark.parametrize(("text", "what"), SECRETS.items())
def test_secrets_and_personal_names(home: Path, text: str, what: str) -> None:
    files = {"model/README.md": f"{CARD}\nsee {text}\n".encode()}
    refused(home, files, f"README.md line [0-9]+: {what}")
    with pytest.raises(InputError) as error:
        prepare("player", "ada/her", PublicationOptions())
    assert text not in str(error.value)
    fingerprint = str(error.value).rsplit(" ", 1)[1]
    assert prepare("player", "ada/her", PublicationOptions(accepted=(fingerprint,))).manifest.accepted == (fingerprint,)


def test_a_key_of_this_machine_and_its_private_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "correct horse battery")
    refused(home, {"model/README.md": b"correct horse battery"}, "key of this machine")
    (home / "private_names.txt").write_text("# colleagues\nGrace Hopper\n")
    refused(home, {"model/README.md": b"thanks to Grace Hopper"}, "private name 'Grac...'")
    refused(home, {"model/model.safetensors": tensors(metadata={"by": "Grace Hopper"})}, "safetensors header: private name")


def test_secrets_in_parquet(home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (home / "rows").mkdir(parents=True)
    rows = [{"text": "honest"}, {"text": "write to ada@analytical.org"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), home / "rows" / "a.parquet")
    content = (home / "rows" / "a.parquet").read_bytes()
    write_run(home, "rows", {"dataset/a.parquet": content}, pipeline="synthesize", outputs=("dataset/a.parquet",))
    with pytest.raises(InputError, match="a.parquet row 2: e-mail address"):
        prepare("rows", "ada/rows", PublicationOptions())


def test_what_stands_in_a_vocabulary_by_chance_passes(home: Path) -> None:
    write_run(home, "player", {**model_files(), "model/tokenizer.json": b'{"vocab": {"a@b.com": 1, "/home/x": 2}}'})
    assert prepare("player", "ada/her", PublicationOptions()).manifest.files


@pytest.mark.parametrize(
    ("licence", "options", "message"),
    [
        ("cc-by-nd-4.0", {}, "forbids to hand on"),
        ("other", {"public": True}, "licence is not known"),
        ("unknown", {"public": True}, "licence is not known"),
        ("apache-2.0", {"licence": "mit"}, "the card states the licence 'apache-2.0' and --licence says 'mit'"),
        ("llama3.2", {}, "asks that the name begins with 'Llama'"),
    ],
)
def test_licences(home: Path, licence: str, options: dict[str, object], message: str) -> None:
    card = CARD.replace("apache-2.0", licence)
    refused(home, {"model/README.md": card.encode()}, message, **options)


@pytest.mark.parametrize(
    ("licence", "public", "message"),
    [("CC BY-ND 4.0", False, "source 'Othello' has the licence"), ("unknown", True, "licence of source 'Othello' is not known")],
)
def test_licences_of_sources(home: Path, licence: str, public: bool, message: str) -> None:
    def write(terms: str) -> None:
        table = (
            f"### Sources and licences\n\n| source | licence | transcripts |\n| --- | --- | --- |\n| Othello | {terms} | 8 |\n"
        )
        files = {"dataset/README.md": f"# rows\n\n{table}\n### Files\n".encode(), "dataset/a.jsonl": b"{}\n"}
        write_run(home, "rows", files, pipeline="synthesize", outputs=("dataset/a.jsonl",))

    options = PublicationOptions(public=public, licence="cc0-1.0")
    write(licence)
    with pytest.raises(InputError, match=message):
        prepare("rows", "ada/rows", options)
    write("public domain")
    assert prepare("rows", "ada/rows", options).manifest.files


def test_a_licence_that_was_named_stands_in_the_card(home: Path) -> None:
    write_run(home, "player", {**model_files(), "model/README.md": b"# model\n"})
    prepared = prepare("player", "ada/her", PublicationOptions(public=True, licence="MIT"))
    assert "license: mit" in (prepared.folder / "README.md").read_text()


def test_a_header_says_what_is_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(tensors())
    assert list(safetensors_header(tmp_path / "a.safetensors")) == ["weight"]


def test_a_link_out_of_the_run(home: Path, tmp_path: Path) -> None:
    run = write_run(home, "player", model_files())
    (tmp_path / "diary.txt").write_text("dear diary")
    (run / "model" / "notes.txt").symlink_to(tmp_path / "diary.txt")
    with pytest.raises(InputError, match="link to a file outside of the run"):
        prepare("player", "ada/her", PublicationOptions())


def test_votes_that_were_withdrawn_since(home: Path, tmp_path: Path) -> None:
    database = tmp_path / "votes.sqlite3"
    settings = f'name = "judge"\nhead = "scalar"\n[pairs.people]\ndatabase = "{database}"\n'
    write_run(home, "judge", model_files(), pipeline="reward", settings=settings, started=time.time())
    with pytest.raises(InputError, match="which is gone; withdrawals cannot be looked up"):
        prepare("judge", "ada/judge", PublicationOptions())
    with closing(Store(f"sqlite:///{database}")) as store:
        assert prepare("judge", "ada/judge", PublicationOptions()).manifest.files
        time.sleep(0.01)
        store.withdraw_visitor("a" * 64)
    with pytest.raises(InputError, match="1 ratings, votes or people were withdrawn .* run it again under another name"):
        prepare("judge", "ada/judge", PublicationOptions())


def test_exported_rows_that_were_withdrawn_since(home: Path, tmp_path: Path) -> None:
    """A file that was exported names no database; what was withdrawn stands in that of this machine."""
    rows, visitor = tmp_path / "preference.jsonl", "b" * 64
    rows.write_text(f'{{"prompt": [], "rater": "rater:{visitor[:12]}"}}\n{{"prompt": [], "rater": "rater:cccccccccccc"}}\n')
    write_run(home, "taught", model_files(), settings=f'name = "taught"\n[preferences]\nfiles = ["{rows}"]\n')
    # The published run was made from the one that read the rows.
    start = home / "runs" / "taught" / "model"
    write_run(home, "player", model_files(), settings=f'name = "player"\n[model]\nbase = "{start}"\n')
    with closing(Store()) as store:
        store.withdraw_visitor("a" * 64)
        assert prepare("player", "ada/her", PublicationOptions()).manifest.files
        store.withdraw_visitor(visitor)
    with pytest.raises(InputError, match=r"1 rows of '.*preference.jsonl', of which run 'taught' was made, .* withdrawn since"):
        prepare("player", "ada/her", PublicationOptions())


def test_a_clock_that_is_wrong(home: Path) -> None:
    write_run(home, "player", model_files(), started=time.time() + 86_400)
    with pytest.raises(InputError, match="run 'player' began at .* UTC, which is in the future: the clock is wrong"):
        prepare("player", "ada/her", PublicationOptions())
