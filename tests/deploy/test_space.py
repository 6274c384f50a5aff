"""her/deploy/space.py: only tracked files that the Space needs are uploaded, as one commit in the Hub's protocol."""

import http.server
import json
import re
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from her.deploy import space
from her.errors import HerError, InputError

ROOT = Path(__file__).resolve().parents[2]
TREE = {
    "app.py": "main()\n",
    "LICENSE": "Apache\n",
    "README.md": "the repository's own\n",
    "her/__init__.py": "",
    "her/ui/static/stage.css": "body {}\n",
    "personas/elara.yaml": "name: Elara\n",
    "spaces/README.md": "---\nsdk: gradio\n---\n",
    "spaces/builder.txt": "gradio\n",
    "spaces/pre-requirements.txt": "gradio==1\n",
    "spaces/requirements.txt": "gradio==1\n",
    "tests/test_app.py": "",
    "docs/a.md": "",
}


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small repository with every file tracked, and some that are not."""
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    (tmp_path / "her" / "her.sqlite3").write_text("ratings", "utf-8")
    (tmp_path / "her" / "draft.py").write_text("secret = 1\n", "utf-8")
    return tmp_path


def test_only_tracked_files_that_the_space_needs(checkout: Path) -> None:
    files = space.list_uploads(checkout)
    assert [(upload.source, upload.target) for upload in files] == [
        ("LICENSE", "LICENSE"),
        ("spaces/README.md", "README.md"),
        ("app.py", "app.py"),
        ("her/__init__.py", "her/__init__.py"),
        ("her/ui/static/stage.css", "her/ui/static/stage.css"),
        ("personas/elara.yaml", "personas/elara.yaml"),
        ("spaces/pre-requirements.txt", "pre-requirements.txt"),
        ("spaces/requirements.txt", "requirements.txt"),
    ]
    assert [upload.size for upload in files if upload.target == "app.py"] == [7]


def test_a_folder_without_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="git cannot list the files"):
        space.list_uploads(tmp_path)


def test_an_untracked_or_lost_file_is_named(checkout: Path) -> None:
    git(checkout, "rm", "-q", "--cached", "app.py")
    with pytest.raises(InputError, match=r"'app.py' is not tracked by git"):
        space.list_uploads(checkout)
    git(checkout, "add", "app.py")
    (checkout / "personas" / "elara.yaml").unlink()
    with pytest.raises(InputError, match=r"'personas/elara.yaml' is tracked by git but is not a regular file"):
        space.list_uploads(checkout)
    (checkout / "personas" / "elara.yaml").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="not a regular file"):
        space.list_uploads(checkout)


def test_an_installed_package_has_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her.paths.ROOT", tmp_path)
    with pytest.raises(InputError, match="is not beside the package; run this in a clone of it"):
        space.find_repository()


@pytest.mark.parametrize("name", ["her", "a/b/c", "/her", "ada/", "ada/h er", "../her", "https://hub/ada"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a Space; write OWNER/NAME"):
        space.check_name(name)


class Hub(http.server.BaseHTTPRequestHandler):
    """The four routes of the Hub that a deploy uses; records what came, answers with `status`."""

    server: "HubServer"

    def do_GET(self) -> None:
        if self.server.status != 200:
            return self.answer({"error": "no"}, self.server.status)
        if "/tree/" in self.path:
            stale = {"type": "file", "path": "her/old.py", "size": 1, "oid": "0" * 40}
            foreign = {"type": "file", "path": "notes.txt", "size": 1, "oid": "0" * 40}
            return self.answer([stale, foreign])
        return self.answer(
            {"id": "ada/her", "sha": "0" * 40, "siblings": [{"rfilename": "her/old.py"}, {"rfilename": "notes.txt"}]}
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.requests.append((self.path, self.headers.get("Authorization", ""), body))
        if self.server.status != 200:
            return self.answer({"error": "no"}, self.server.status)
        if self.path.endswith("/repos/create"):
            return self.answer({"url": f"{self.server.address}/spaces/ada/her"})
        if "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self.answer({"files": files})
        return self.answer({"commitUrl": f"{self.server.address}/spaces/ada/her/commit/1", "commitOid": "1" * 40})

    def answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Quiet."""


class HubServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.requests: list[tuple[str, str, str]] = []
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server = HubServer()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.address)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_deploy_is_one_commit_of_exactly_these_files(checkout: Path, hub: HubServer) -> None:
    files = space.list_uploads(checkout)
    space.deploy("ada/her", checkout, files)
    created, commits = hub.requests[0], [request for request in hub.requests if "/commit/" in request[0]]
    assert created[0].endswith("/repos/create")
    assert json.loads(created[2]) | {"name": "her", "organization": "ada", "type": "space", "sdk": "gradio"} == json.loads(
        created[2]
    )
    assert len(commits) == 1
    lines = [json.loads(line) for line in commits[0][2].splitlines()]
    assert sorted(line["value"]["path"] for line in lines if line["key"] == "file") == [upload.target for upload in files]
    assert [line["value"]["path"] for line in lines if line["key"] == "deletedFile"] == ["her/old.py"]
    assert all(authorization == "Bearer hf_secret" for _, authorization, _ in hub.requests)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "may not write there"),
        (402, "allows no further Gradio Space"),
        (403, "may not write there"),
        (500, "try again later"),
    ],
)
def test_a_refusal_is_one_sentence_without_the_token(checkout: Path, hub: HubServer, status: int, advice: str) -> None:
    hub.status = status
    with pytest.raises(HerError, match=advice) as caught:
        space.deploy("ada/her", checkout, space.list_uploads(checkout))
    assert "hf_secret" not in str(caught.value)


def test_no_token_and_no_hub(checkout: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = space.list_uploads(checkout)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HerError, match="could not be reached"):
        space.deploy("ada/her", checkout, files)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="there is no Hugging Face token; set HF_TOKEN"):
        space.deploy("ada/her", checkout, files)
    assert hub.requests == []


def front_matter() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "spaces" / "README.md").read_text("utf-8").split("---\n")[1])


def test_the_front_matter_is_what_a_space_wants() -> None:
    fields = front_matter()
    assert (fields["sdk"], fields["app_file"], fields["license"]) == ("gradio", "app.py", "apache-2.0")
    assert fields["python_version"] == "3.11"
    assert len(fields["short_description"]) <= 60
    assert {fields["colorFrom"], fields["colorTo"]} <= {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def pins(name: str) -> dict[str, str]:
    """Version by package of a file of pins, with or without hashes."""
    lines = re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    return dict(lines)


def requirements(lines: list[str]) -> list[Requirement]:
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_pins_fit_the_base_dependencies_and_what_the_builder_adds() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    added = (ROOT / "spaces" / "builder.txt").read_text("utf-8").splitlines()
    pinned = pins("spaces/requirements.txt")
    unmet = [str(wanted) for wanted in requirements([*declared, *added]) if pinned.get(wanted.name) not in wanted.specifier]
    assert not unmet
    assert pinned["gradio"] == front_matter()["sdk_version"]


def test_the_builder_can_install_the_pins_beside_packages_without_hashes() -> None:
    """pip asks hashes of every package as soon as one has some: they stand in the file that is installed by itself."""
    assert "--hash" not in (ROOT / "spaces" / "requirements.txt").read_text("utf-8")
    assert pins("spaces/pre-requirements.txt") == pins("spaces/requirements.txt")
    assert not unhashed("spaces/pre-requirements.txt")


def unhashed(name: str) -> list[str]:
    return re.findall(r"^[\w.-]+==.*[^\\]$", (ROOT / name).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "extras"),
    [("base", ""), ("dev", "dev"), ("train-cpu", "train ray dev"), ("train-cuda", "train local ray dev quantise")],
)
def test_a_lock_pins_what_pyproject_declares(name: str, extras: str) -> None:
    """After a change of dependencies, `make lock` writes the locks anew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *(line for extra in extras.split() for line in project["optional-dependencies"][extra])]
    locked = {package.lower(): version for package, version in pins(f"requirements/{name}.txt").items()}
    wanted = [each for each in requirements(declared) if each.name != "her"]
    unmet = [str(each) for each in wanted if locked.get(each.name.lower(), "0") not in each.specifier]
    assert not unmet


def test_every_environment_has_the_versions_of_the_space() -> None:
    names = ["base", "dev", "torch-cpu", "train-cpu", "train-cuda"]
    space_pins = pins("spaces/requirements.txt")
    for name in names:
        locked = pins(f"requirements/{name}.txt")
        assert {package: version for package, version in locked.items() if space_pins.get(package, version) != version} == {}
        assert not unhashed(f"requirements/{name}.txt")
        assert not re.search(r"^(--|-[if] )", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE)
