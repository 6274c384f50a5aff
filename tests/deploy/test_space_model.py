"""her/deploy/space_model.py: what a Space is set to for a model, and that no key is printed, sent in the clear or taken along."""

import json
import re
from pathlib import Path

import pytest
import yaml

from her.deploy import space
from her.deploy.hub.publishing import PublicationOptions, prepare, publish
from her.deploy.space_model import SpaceModel, space_model
from her.deploy.stage_record import put_on_stage
from her.errors import HerError, InputError
from tests.cli.commands import her
from tests.deploy.test_space import TREE, git
from tests.hub import READER, Hub
from tests.hub_runs import model_files, write_run

KEY = "sk-or-v1-0123456789abcdef"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "clone"
    versions = ("transformers==5.23.0", "accelerate==1.15.0", "safetensors==0.8.0", "tokenizers==0.23.3", "")
    pins = "torch==2.13.0 \\\n    --hash=sha256:00\n" + "\n".join(versions)
    for name, text in {**TREE, "requirements/train-cuda.txt": pins}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", ".")
    monkeypatch.setattr("her.paths.ROOT", root)
    monkeypatch.setenv("HER_OPENAI_API_KEY", KEY)
    return root


def published(home: Path) -> None:
    folder = write_run(home, "player", model_files())
    publish(prepare("player", "ada/player", PublicationOptions()))
    put_on_stage("player", folder / "model")


def test_the_checkpoint_on_stage_plays_on_zero_gpu(hub: Hub, home: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(home)
    monkeypatch.setenv("SPACE_TOKEN", READER)
    words = ("space", "deploy", "ada/stage", "--model", "promoted", "--serve", "zero", "--variable", "HER_LANGUAGE=zh")
    before = len(hub.requests)
    shown = her(*words, "--secret", "HF_TOKEN=SPACE_TOKEN", "--dry-run")
    assert shown.exit_code == 0 and len(hub.requests) == before, shown.output
    for line in (
        "variable  HER_BACKEND=local:ada/player#player",
        "variable  HER_LANGUAGE=zh",
        "secret    HF_TOKEN, from SPACE_TOKEN of this environment",
        "package   torch==2.13.0",
        "hardware  zero-a10g",
        "README.md  (changed for the model)",
    ):
        assert line in shown.output
    assert READER not in shown.output
    assert "private, and the Space needs a token" in her(*words).stderr and not hub.exists("spaces", "ada/stage")
    for _ in range(2):  # started again, it sets the same
        assert her(*words, "--secret", "HF_TOKEN=SPACE_TOKEN").exit_code == 0
    made = hub.repository("spaces", "ada/stage")
    assert made.state["hardware"] == "zero-a10g" and made.state["secrets"] == {"HF_TOKEN": READER}
    assert made.state["variables"] == {"HER_BACKEND": "local:ada/player#player", "HER_LANGUAGE": "zh"}
    # Secrets and variables were there before the first commit of files, so the first start had them.
    assert [what for what, commits in made.state["set"] if commits == 1] == ["secrets", "variables", "variables"]
    files = made.files(made.state["branches"]["main"])
    front = yaml.safe_load(made.content(files["README.md"]).read_text().split("---\n")[1])
    assert front["models"] == ["ada/player"] and front["suggested_hardware"] == "zero-a10g" and front["sdk"] == "gradio"
    packages = made.content(files["requirements.txt"]).read_text().splitlines()
    assert packages[0] == "gradio==1" and "transformers==5.23.0" in packages and not any("--hash" in line for line in packages)


def test_a_router_and_an_endpoint_are_asked_with_a_secret(hub: Hub, checkout: Path) -> None:
    router = space_model("Qwen/Qwen3-32B", "router", secrets=["HER_OPENAI_API_KEY"], root=checkout)
    assert router.variables == {"HER_BACKEND": "openai:https://router.huggingface.co/v1#Qwen/Qwen3-32B"}
    assert router.hardware == "" and not router.requirements and KEY not in repr(router)
    own = space_model(
        "", "endpoint", endpoint="https://models.example.org:8080/v1", secrets=["OPENAI_API_KEY=HER_OPENAI_API_KEY"]
    )
    assert own.variables == {"HER_BACKEND": "openai:https://models.example.org:8080/v1"}
    assert own.secret_values() == {"OPENAI_API_KEY": KEY}
    space.deploy("ada/stage", checkout, space.with_model(space.list_uploads(checkout), checkout, router), router)
    state = hub.repository("spaces", "ada/stage").state
    assert state["secrets"] == {"HER_OPENAI_API_KEY": KEY} and state["hardware"] == "cpu-basic"


def test_a_space_that_keeps_its_ratings_is_told_where(checkout: Path) -> None:
    own = space_model("", None, ratings="ada/kept", secrets=["HF_TOKEN=SPACE_TOKEN"], root=checkout)
    assert own.variables == {"HER_DURABLE": "ada/kept"} and own.secrets == {"HF_TOKEN": "SPACE_TOKEN"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"model": "ada/player"}, "--serve router, endpoint or zero"),
        ({"serving": "zero"}, "--serve zero needs a model"),
        ({"hardware": "zero-b200"}, "hardware 'zero-b200' is not known to the Hub; it has cpu-basic"),
        ({"serving": "router", "model": "Qwen/Qwen3-32B"}, "the Space asks the router with a key"),
        ({"serving": "router", "model": "no name"}, "'no name' is not the name of a repository"),
        ({"serving": "endpoint", "model": "ada/player"}, "--endpoint URL goes with"),
        ({"serving": "zero", "model": "ada/player", "endpoint": "https://x.org"}, "--endpoint URL goes with"),
        ({"serving": "endpoint", "endpoint": "http://models.example.org/v1"}, "not an https address"),
        ({"serving": "endpoint", "endpoint": "https://models.example.org:8000/v1"}, "ports 80, 443, 8080 only"),
        ({"serving": "endpoint", "endpoint": "https://192.168.0.7/v1"}, "which a Space cannot reach"),
        ({"serving": "endpoint", "endpoint": "https://[::1]:443/v1"}, "which a Space cannot reach"),
        ({"serving": "endpoint", "endpoint": "https://localhost/v1"}, "which a Space cannot reach"),
        ({"serving": "endpoint", "endpoint": "https://me:pass@models.example.org/v1"}, "put the key into HER_OPENAI_API_KEY"),
        ({"serving": "zero", "model": "ada/player", "variables": ["HER_BACKEND=scripted:"]}, "contradicts --serve zero"),
        ({"variables": [f"NOTE=see {KEY}"]}, "variable 'NOTE' holds a key of this machine"),
        ({"variables": ["NOTE"]}, "is not NAME=VALUE"),
        ({"secrets": [f"HF_TOKEN={KEY}"]}, "its value comes from that variable"),
        ({"serving": "zero", "model": "promoted"}, "nothing is on stage"),
        ({"ratings": "ada/kept"}, "the Space writes to 'ada/kept' with a token of its own: --secret HF_TOKEN"),
        ({"ratings": "ada/kept@v1", "secrets": ["HF_TOKEN"]}, "names a tag"),
        ({"ratings": "kept", "secrets": ["HF_TOKEN"]}, "is not the name of a repository"),
        ({"ratings": "ada/a", "variables": ["HER_DURABLE=ada/b"], "secrets": ["HF_TOKEN"]}, "contradicts --ratings"),
    ],
)
def test_what_does_not_fit_is_refused(checkout: Path, words: dict[str, object], said: str) -> None:
    secrets = {"secrets": ["HF_TOKEN"]} if words.get("serving") == "endpoint" else {}
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        space_model(**{"model": "", "serving": None, "root": checkout, **secrets, **words})  # type: ignore[arg-type]
    assert KEY not in str(caught.value)


def test_a_checkpoint_that_no_space_could_load(hub: Hub, home: Path, checkout: Path) -> None:
    folder = write_run(home, "player", model_files())
    put_on_stage("player", folder / "model")
    with pytest.raises(InputError, match="run 'player' is on stage and not on the Hub.* her publish player OWNER/NAME"):
        space_model("promoted", "zero", root=checkout)
    published(home)
    for address, said in (("ada/nobody@v1", "there is no model 'ada/nobody'"), ("ada/player@v9", "has no tag 'v9'")):
        model = space_model(address, "zero", root=checkout)
        with pytest.raises(InputError, match=said):
            space.deploy("ada/stage", checkout, space.list_uploads(checkout), model)
    with pytest.raises(InputError, match="'NOT_SET' is not set in this environment"):
        space.deploy("ada/stage", checkout, [], SpaceModel(secrets={"HF_TOKEN": "NOT_SET"}))
    assert not hub.exists("spaces", "ada/stage")


def test_a_deploy_that_was_cut_is_finished_by_the_same_command(hub: Hub, home: Path, checkout: Path) -> None:
    model = space_model("", None, hardware="cpu-upgrade", variables=["A=1"], secrets=["HER_OPENAI_API_KEY"])
    files = space.list_uploads(checkout)
    hub.cut(2, "after")
    with pytest.raises(HerError) as caught:
        space.deploy("ada/stage", checkout, files, model)
    assert KEY not in str(caught.value)
    hub.mend()
    space.deploy("ada/stage", checkout, files, model)
    made = hub.repository("spaces", "ada/stage")
    assert (made.state["hardware"], made.state["variables"]) == ("cpu-upgrade", {"A": "1"})
    assert {each.target for each in files} <= made.files(made.state["branches"]["main"]).keys()
    assert json.dumps(made.state["secrets"]) == json.dumps({"HER_OPENAI_API_KEY": KEY})
