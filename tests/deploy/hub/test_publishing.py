"""her/deploy/hub: what of a run is sent, when it is refused, how a cut upload resumes, and what readers get."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.deploy.hub import bases
from her.deploy.hub.figures import CheckpointFigures, other_versions, read_figures, unlike
from her.deploy.hub.manifest import MANIFEST
from her.deploy.hub.publishing import PublicationOptions, Published, prepare, publish
from her.deploy.hub.pulling import pull
from her.errors import HerError, InputError
from her.types import Message
from tests.hub import READER, Hub
from tests.hub_runs import model_files, write_run


def send(run: str = "player", to: str = "ada/her", **options: Any) -> Published:
    return publish(prepare(run, to, PublicationOptions(**options)))


@pytest.fixture
def run(home: Path) -> Path:
    return write_run(home, "player", model_files())


def test_a_run_is_published_and_read_back(hub: Hub, run: Path, home: Path) -> None:
    published = send()
    assert published.address.endswith("/ada/her/tree/player") and not published.already
    stored = hub.repository("models", "ada/her")
    assert stored.state["private"] and stored.state["tags"] == {"player": published.commit}
    folder, manifest, _ = pull("ada/her")
    assert folder == home / "pulled" / "ada--her@player"
    assert (folder / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()
    # Neither the pickles of checkpoints nor the log left the machine.
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors", MANIFEST}
    assert manifest.run == "player" and manifest.kind == "model" and set(manifest.files) == names - {MANIFEST}


def test_the_card_holds_the_lineage_and_no_path_of_this_machine(hub: Hub, run: Path) -> None:
    send()
    card = (pull("ada/her").folder / "README.md").read_text()
    assert card.startswith("---\n") and "# her\n" in card and "license: apache-2.0" in card
    assert "| seed | 7 |" in card and "| code version | c0ffee |" in card and "ab" * 32 in card
    assert "| eval_loss | 2.5 | 4 |" in card and "| well_formed | 3 | 4 |" in card
    assert "/home/ada" not in card and '"sft.parquet"' in card
    # The run's own card stays as it was.
    assert "Lineage" not in (run / "model" / "README.md").read_text()


def test_the_lineage_goes_back_to_the_runs_it_was_made_from(home: Path) -> None:
    rows = {"dataset/README.md": b"# rows\n", "dataset/sft.jsonl": b"{}\n"}
    write_run(
        home, "rows", rows, pipeline="synthesize", outputs=("dataset/sft.jsonl",), commit="beef", settings='name = "rows"\n'
    )
    settings = 'name = "player"\n[model]\nbase = "ada/base"\nrevision = "v1"\n[samples]\nruns = ["rows"]\n'
    write_run(home, "player", model_files(), settings=settings)
    prepared = prepare("player", "ada/her", PublicationOptions())
    card = (prepared.folder / "README.md").read_text()
    assert "### Stage `player`: sft" in card and "### Stage `rows`: synthesize" in card
    assert "### Settings of `rows`" in card and 'revision="player")' in card
    assert "| base | ada/base@v1 |" in card and "| code version | beef |" in card and prepared.manifest.base == "ada/base@v1"


def test_nothing_is_sent_twice(hub: Hub, run: Path) -> None:
    send()
    kept = len(hub.kept)
    assert send().already and len(hub.kept) == kept
    send(tag="again")
    # A new tag changes the card and the manifest only.
    assert sorted(path.split()[0] for _, path, _ in hub.kept[kept:]) == ["README.md", MANIFEST]


def test_a_run_that_went_on_from_a_publication_names_it(hub: Hub, run: Path, home: Path) -> None:
    send()
    folder = pull("ada/her").folder
    write_run(home, "next", model_files(), settings=f'name = "next"\n[model]\nbase = "{folder}"\n')
    prepared = prepare("next", "ada/next", PublicationOptions())
    card = (prepared.folder / "README.md").read_text()
    assert (
        prepared.manifest.base == "ada/her@player"
        and "base_model: ada/her\n" in card
        and "| base | ada/her@player |" in card
        and str(folder) not in card
    )


def test_figures_keep_the_name_of_what_was_measured(home: Path) -> None:
    folder = write_run(
        home, "check", {"report_card.json": b"{}", "report_card.md": b"# Judge\n"}, "judge_check", outputs=("report_card.json",)
    )
    lines = [{"at": 1, "design": design, "agreement": share} for design, share in (("paper", 0.5), ("circulant", 0.75))]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = (prepare("check", "ada/check", PublicationOptions()).folder / "README.md").read_text()
    assert "| paper: agreement | 0.5 | end |" in card and "| circulant: agreement | 0.75 | end |" in card and "# Judge\n" in card


def test_a_part_shows_its_own_figures_only(home: Path) -> None:
    files = {f"camp-{camp}/{name}": content for camp in (1, 2) for name, content in model_files().items()}
    settings = 'name = "judge"\nhead = "scalar"\n'
    folder = write_run(home, "judge", files, "reward", settings=settings, outputs=("camp-1/model/model.safetensors",))
    lines = [{"at": 1, f"camp-{camp}": {"step": 9, "accuracy": camp / 4}} for camp in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = (prepare("judge/camp-1", "ada/judge", PublicationOptions()).folder / "README.md").read_text()
    assert "| accuracy | 0.25 | 9 |" in card and "0.5 |" not in card


@pytest.mark.whole
@pytest.mark.parametrize("at", [8, 14, 17])
def test_a_cut_upload_resumes_and_has_no_tag_before(hub: Hub, run: Path, at: int) -> None:
    hub.cut(at, "after")
    with pytest.raises(HerError, match="line to the Hub was cut .* start the same command again"):
        send()
    hub.mend()
    assert not hub.repository("models", "ada/her").state["tags"]
    with pytest.raises(InputError, match="not finished: its tag is missing|was not published with her"):
        pull("ada/her")
    send()
    assert pull("ada/her@player").manifest.run == "player" and not hub.twice()


@pytest.mark.whole
def test_a_file_that_is_gone_from_the_run_leaves_the_repository(hub: Hub, home: Path) -> None:
    write_run(home, "player", {**model_files(), "model/NOTICE": b"once\n"})
    send()
    (home / "runs" / "player" / "model" / "NOTICE").unlink()
    send(tag="v2")
    assert (pull("ada/her@player").folder / "NOTICE").is_file() and not (pull("ada/her@v2").folder / "NOTICE").exists()


def test_a_tag_is_never_moved(hub: Hub, run: Path) -> None:
    send()
    (run / "model" / "chat_template.jinja").write_bytes(b"{{ other }}")
    with pytest.raises(InputError, match="tag 'player' of 'ada/her' stands for another publication .* --tag"):
        send()


def test_a_token_without_rights(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HerError, match="HTTP 403.* set HF_TOKEN to one that has"):
        send()
    with pytest.raises(InputError, match="there is no repository 'ada/nobody'"):
        pull("ada/nobody")


def test_no_token_and_offline(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        send()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match="no Hugging Face token"):
        send()


def test_names_that_are_taken(hub: Hub, run: Path, home: Path) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.address)
    api.create_repo("ada/notes", private=True)
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id="ada/notes")
    with pytest.raises(InputError, match="'ada/notes' holds other content, such as 'notes.txt'"):
        send(to="ada/notes")
    api.create_repo("ada/rows", repo_type="dataset", private=True)
    with pytest.raises(InputError, match="'ada/rows' is the name of a dataset already and this is a model"):
        send(to="ada/rows")
    send()
    write_run(home, "judge", model_files(), pipeline="reward", settings='name = "judge"\nhead = "scalar"\n')
    with pytest.raises(InputError, match="holds a model and this is a scalar reward model"):
        send("judge")
    api.create_repo("ada/open", private=False)
    with pytest.raises(InputError, match="'ada/open' is public and a private publication was asked for"):
        send(to="ada/open")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"state": "failed", "reason": "it diverged"}, r"is failed \(it diverged\); only a run that is done"),
        ({"outputs": {"model/model.safetensors": "0" * 64}}, "was changed since it ended: model/model.safetensors is another"),
        ({"outputs": {"model/gone.safetensors": "0" * 64}}, "gone.safetensors is missing"),
        ({"outputs": {}}, "recorded no hashes"),
        ({"pipeline": "other"}, "of which nothing is published; runs of synthesize"),
    ],
)
def test_runs_that_are_refused(home: Path, status: dict[str, Any], message: str) -> None:
    write_run(home, "player", model_files(), **status)
    with pytest.raises(InputError, match=message):
        prepare("player", "ada/her", PublicationOptions())


def test_one_model_of_several(home: Path) -> None:
    files = {f"camp-{camp}/{name}": content for camp in (1, 2) for name, content in model_files().items()}
    outputs = tuple(f"camp-{camp}/model/model.safetensors" for camp in (1, 2))
    write_run(home, "judge", files, pipeline="reward", settings='name = "judge"\nhead = "scalar"\n', outputs=outputs)
    with pytest.raises(InputError, match="has no model; name one of its parts: judge/camp-1, judge/camp-2"):
        prepare("judge", "ada/her", PublicationOptions())
    with pytest.raises(InputError, match="has no part"):
        prepare("judge/../..", "ada/her", PublicationOptions())
    assert prepare("judge/camp-2", "ada/her", PublicationOptions()).manifest.tag == "judge-camp-2"


def test_a_changed_file_is_not_kept(hub: Hub, run: Path, home: Path) -> None:
    send()
    stored = hub.repository("models", "ada/her")
    entry = stored.files(stored.state["tags"]["player"])["config.json"]
    content = stored.content(entry).read_bytes()
    stored.content(entry).write_bytes(content.replace(b"2", b"3"))
    with pytest.raises(HerError, match="config.json has the sha256 .* nothing was kept"):
        pull("ada/her@player")
    assert not (home / "pulled" / "ada--her@player").exists()


def test_a_folder_with_other_content_is_left_alone(hub: Hub, run: Path, tmp_path: Path) -> None:
    send()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        pull("ada/her", tmp_path / "mine")
    assert (tmp_path / "mine" / "a.txt").read_text() == "mine"


def test_unknown_tags_and_names(hub: Hub, run: Path) -> None:
    send()
    with pytest.raises(InputError, match="has no tag 'v9', so nothing says that the upload is whole; its tags: player"):
        pull("ada/her@v9")
    for wrong in ("her", "ada/her/x", "ada/..", "ada/her@", "ada/her@a b"):
        with pytest.raises(InputError, match="is not the name|cannot be a tag"):
            pull(wrong)


def test_the_command_lists_every_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from her.cli import app

    shown = CliRunner().invoke(app, ["publish", "player", "ada/her", "--dry-run", "--unmeasured"])
    assert shown.exit_code == 0 and "model: 5 files" in shown.output and "nothing was sent" in shown.output
    record = json.loads((run / "status.json").read_text())["outputs"]["model/model.safetensors"]
    assert record in shown.output and "README.md" in shown.output
    refused = CliRunner().invoke(app, ["publish", "nobody", "ada/her"])
    assert refused.exit_code == 2


@pytest.mark.whole
def test_a_pull_that_is_cut_goes_on(hub: Hub, run: Path, tmp_path: Path) -> None:
    send()
    cuts = 0
    while not (tmp_path / "cut").exists():
        hub.cut(cuts + 1, "before")
        try:
            pull("ada/her@player", tmp_path / "cut")
        except HerError as error:
            assert "line to the Hub was cut" in str(error) and not (tmp_path / "cut").exists()
            cuts += 1
    # Requests grow fewer from one start to the next, since what has arrived is kept.
    assert cuts >= 5
    assert {path.name for path in (tmp_path / "cut").iterdir()} >= {MANIFEST, "model.safetensors"}


def spoken(**changes: Any) -> CheckpointFigures:
    prompt = (Message(role="system", content="Ann"), Message(role="user", content="Bell: Who is it?"))
    known = {"prompts": (prompt,), "turns": ("Ann: Me.",), "figures": {"words": 1.0}, "versions": {"torch": "2.13.0"}}
    return CheckpointFigures(**{**known, **changes})


def test_the_card_has_the_free_metrics_of_the_folder_that_is_sent(hub: Hub, run: Path) -> None:
    measured: list[Path] = []

    def measure(folder: Path, prompts: object) -> CheckpointFigures:
        measured.append(folder)
        assert (folder / "model.safetensors").is_file() and prompts == ()
        return spoken()

    prepared = prepare("player", "ada/her", PublicationOptions(), measure)
    publish(prepared)
    folder, manifest, commit = pull("ada/her")
    assert measured == [prepared.folder] and commit == hub.repository("models", "ada/her").state["tags"]["player"]
    card = (folder / "README.md").read_text()
    assert read_figures(folder, manifest) == spoken() and "| words | 1.0 |" in card and "[answer]\nAnn: Me.\n~~~~" in card


def test_results_of_an_evaluation_are_sent_for_the_hub_to_read(home: Path) -> None:
    files = {"scores.jsonl": b"{}\n", ".eval_results/coser.yaml": b"- value: 1\n", ".cache/x.json": b"{}"}
    write_run(home, "eval", files, "evaluate", outputs=("scores.jsonl",), settings='name = "eval"\n')
    sent = prepare("eval", "ada/eval", PublicationOptions()).manifest.files
    assert ".eval_results/coser.yaml" in sent and ".cache/x.json" not in sent


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"figures": {"words": 1.00001}}, []),
        ({"figures": {"words": 1.5}}, ["words is 1.5 and was 1"]),
        ({"figures": {}}, ["words is not there and was 1"]),
        ({"turns": ("Ann: You.",)}, ["1 of 1 greedy turns are others"]),
        ({"turns": ()}, ["0 of 1 greedy turns are others"]),
        ({"scores": (0.5,)}, ["0 of 0 scores are others"]),
    ],
)
def test_what_is_measured_again_is_compared(changes: dict[str, Any], said: list[str]) -> None:
    assert unlike(spoken(), spoken(**changes)) == said
    assert other_versions(spoken(), spoken(versions={"torch": "2.14.0"})) == "torch 2.13.0 and 2.14.0"


def test_a_tensor_of_scores_is_close_by_its_size() -> None:
    assert not unlike(spoken(turns=(), scores=(-200.0, 1.0)), spoken(turns=(), scores=(-200.01, 1.00005)))
    assert unlike(spoken(turns=(), scores=(1.0,)), spoken(turns=(), scores=(1.01,))) == ["1 of 1 scores are others"]


def test_training_starts_from_a_publication_by_its_tag(hub: Hub, run: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = send().commit
    bases.verified.cache_clear()
    base = bases.published_base("ada/her@player")  # not on this machine yet: it is pulled
    assert base is not None and (base.folder, base.commit) == (home / "pulled" / "ada--her@player", commit)
    write_run(
        home,
        "next",
        model_files(),
        settings='name = "next"\n[model]\nbase = "ada/her@player"\n',
        hashes={"ada/her@player": commit},
    )
    prepared = prepare("next", "ada/next", PublicationOptions())
    card = (prepared.folder / "README.md").read_text()
    assert prepared.manifest.base == "ada/her@player" and "ada/her@player" in prepared.manifest.trained_on
    assert f"| input ada/her@player | {commit} |" in card and "base_model: ada/her\n" in card
    with pytest.raises(InputError, match=r"is read by its tag; write model.base=ada/her@player"):
        bases.published_base("ada/her")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    bases.verified.cache_clear()
    assert bases.published_base("ada/her@player") == base, "what was pulled needs no network"
    (base.folder / "config.json").write_text("{}")
    bases.verified.cache_clear()
    with pytest.raises(InputError, match="is not what was pulled from ada/her@player .config.json has 2 bytes"):
        bases.published_base("ada/her@player")
    with pytest.raises(InputError, match="is not on this machine and cannot be pulled: HF_HUB_OFFLINE is set"):
        bases.published_base("ada/other@v1")


def test_a_data_set_is_no_base(hub: Hub, home: Path) -> None:
    rows = {"dataset/README.md": b"---\nlicense: mit\n---\n# rows\n", "dataset/sft.jsonl": b"{}\n"}
    write_run(home, "rows", rows, pipeline="synthesize", outputs=("dataset/sft.jsonl",), settings='name = "rows"\n')
    send("rows", "ada/rows")
    with pytest.raises(InputError, match="holds transcripts and samples, and training starts from a model"):
        bases.published_base("ada/rows@rows")
