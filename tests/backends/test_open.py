"""her/backends/open.py: what each spec means, which one is suggested for a wrong one, where keys go, and the table."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from her.backends.base import Backend
from her.backends.open import BACKENDS, Spec, backend_needs, default_spec, is_shared, key_for, open_backend, parse_spec
from her.cli import app
from her.errors import InputError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HER_BACKEND", "HER_OPENAI_API_KEY", "OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "spec", "again"),
    [
        (None, Spec(scheme="scripted"), "scripted:"),
        ("", Spec(scheme="scripted"), "scripted:"),
        ("scripted:", Spec(scheme="scripted"), "scripted:"),
        ("scripted:?seed=7&rate=0", Spec(scheme="scripted", options={"seed": 7, "rate": 0}), "scripted:?seed=7&rate=0"),
        ("openai:http://h:8000/v1#m", Spec(scheme="openai", address="http://h:8000/v1", model="m"), "openai:http://h:8000/v1#m"),
        ("openai:http://h:8000/v1/", Spec(scheme="openai", address="http://h:8000/v1"), "openai:http://h:8000/v1"),
        (
            "openai:https://router.huggingface.co/v1#Qwen/Qwen3-8B:fastest?context=32768",
            Spec(
                scheme="openai",
                address="https://router.huggingface.co/v1",
                model="Qwen/Qwen3-8B:fastest",
                options={"context": 32768},
            ),
            "openai:https://router.huggingface.co/v1#Qwen/Qwen3-8B:fastest?context=32768",
        ),
        ("local:runs/sft", Spec(scheme="local", address="runs/sft"), "local:runs/sft"),
        ("local:org/name#abc123", Spec(scheme="local", address="org/name", model="abc123"), "local:org/name#abc123"),
        ("vllm:org/name", Spec(scheme="vllm", address="org/name"), "vllm:org/name"),
        ("teacher:", Spec(scheme="teacher"), "teacher:"),
        ("scripted:?rate=40&seed=0", Spec(scheme="scripted"), "scripted:"),
    ],
)
def test_specs(text: str | None, spec: Spec, again: str) -> None:
    assert parse_spec(text) == spec
    assert str(spec) == again
    assert parse_spec(again) == spec


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("script:", "'scripted:'"),
        ("scripted", "'scripted:'"),
        ("openai:localhost:8000/v1#m", "'openai:http://localhost:8000/v1#m'"),
        ("http://localhost:8000/v1", "'openai:http://localhost:8000/v1'"),
        ("openia:http://x", "'openai:http://127.0.0.1:8000/v1#MODEL'"),
        ("openai:", "no web address"),
        ("openai:ftp://h/v1", "no web address"),
        ("openai:http://", "no web address"),
        ("openai:http://[::1/v1", "no web address"),
        ("openai:http://h:99999/v1", "no web address"),
        ("ollama:llama3", "'openai:http://127.0.0.1:11434/v1#llama3'"),
        ("Qwen/Qwen3-8B", "'local:Qwen/Qwen3-8B'"),
        ("./runs/sft", "'local:./runs/sft'"),
        ("locl:runs/sft", "'local:runs/sft'"),
        ("local:", "names no model"),
        ("scripted:hello", "'scripted:' alone is right, or 'scripted:?seed=7'"),
        ("teacher:hello", "'teacher:hello' names something; 'teacher:' alone is right"),
        ("teacher:?seed=1", "'teacher:' knows no option 'seed'; it knows none"),
        ("scripted:?speed=3", "knows no option 'speed'; it knows seed, rate"),
        ("scripted:?seed=many", "give a number"),
        ("openai:http://h/v1#m?context=-1", "give a number"),
    ],
)
def test_wrong_specs_name_the_right_one(text: str, meant: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(text)
    assert meant in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "openai:http://me:sk-verysecret@h/v1#m",
        "openai:http://sk-verysecret@h/v1",
        "openai:https://h/v1?api_key=sk-verysecret#m",
        "http://me:sk-verysecret@h/v1",
        "openai:me:sk-verysecret@h/v1#m",
    ],
)
def test_a_key_in_a_spec_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(text)
    assert "verysecret" not in str(caught.value)


def test_default_comes_from_the_environment_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_spec() == "scripted:"
    monkeypatch.setenv("HER_BACKEND", "openai:http://h/v1#m")
    assert parse_spec().model == "m"


def test_keys_by_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert key_for("https://router.huggingface.co/v1") == "hf_x"
    assert key_for("https://router.huggingface.co.evil.example/v1") == ""
    monkeypatch.setenv("OPENAI_API_KEY", "b")
    assert key_for("http://h/v1") == "b"
    monkeypatch.setenv("HER_OPENAI_API_KEY", "a")
    assert key_for("http://h/v1") == "a"


def test_open_backend() -> None:
    backend = open_backend("openai:http://127.0.0.1:9/v1#m", personas={})
    assert isinstance(backend, Backend)
    assert backend.describe().spec == "openai:http://127.0.0.1:9/v1#m"
    assert open_backend("scripted:?rate=0", personas={}).describe().scripted
    with pytest.raises(InputError, match="pipelines on a GPU.*her serve org/name"):
        open_backend("vllm:org/name")


@pytest.mark.parametrize("text", ["local:/etc", "vllm:x/y", "teacher:"])
def test_visitors_open_servers_only(text: str) -> None:
    with pytest.raises(InputError, match="visitors may connect to servers only"):
        open_backend(text, visitor=True)


@pytest.mark.parametrize("scheme", BACKENDS)
def test_every_entry_of_the_table_is_whole(scheme: str) -> None:
    kind = BACKENDS[scheme]
    spec = parse_spec(kind.example)
    assert str(spec) == kind.example and spec.scheme == scheme == kind.scheme
    assert kind.needs.name == f"{scheme}:"
    assert kind.summary and not kind.summary.endswith(".")
    assert all(option.meaning and spec.option(name) == option.default for name, option in kind.options.items())


def test_the_doctor_lists_every_backend() -> None:
    assert [needs.name for needs in backend_needs()] == [f"{scheme}:" for scheme in BACKENDS]


def test_servers_and_rules_are_shared_by_workers_and_local_models_are_not() -> None:
    shared = {scheme for scheme, kind in BACKENDS.items() if is_shared(kind.example)}
    assert shared == {"scripted", "openai", "teacher"}


def test_only_a_pipeline_opens_vllm_in_its_process() -> None:
    assert open_backend("vllm:org/name", pipeline=True).describe().spec == "vllm:org/name"


def _help_of_play() -> str:
    backend = next(parameter for parameter in get_command(app).commands["play"].params if parameter.name == "backend")  # type: ignore[attr-defined]
    return str(backend.help)


def _readme() -> str:
    return (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


@pytest.mark.parametrize("scheme", [scheme for scheme, kind in BACKENDS.items() if kind.chat])
def test_help_and_readme_name_every_backend_for_chats(scheme: str) -> None:
    assert f"{scheme}:" in _help_of_play()
    if BACKENDS[scheme].needs.packages:  # `her play` alone is the scripted one
        assert f'--backend "{scheme}:' in _readme()


def test_the_specs_of_the_readme_are_specs() -> None:
    specs = re.findall(r'--backend "([^"]+)"', _readme())
    assert len(specs) >= 5
    for spec in specs:
        assert BACKENDS[parse_spec(spec).scheme].chat
