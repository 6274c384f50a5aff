"""her/ui/sharing.py: the names that are answered are exactly those that are printed."""

import re

import pytest

from her.config import Settings
from her.ui import assets, sharing

ADDRESSES = ["192.168.7.4", "10.1.2.3"]


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_outward", lambda: [ADDRESSES[0]])
    monkeypatch.setattr(sharing, "_named", lambda: ["127.0.1.1", *ADDRESSES, "169.254.3.3"])


@pytest.mark.parametrize(
    ("fields", "answered", "printed"),
    [
        ({"host": "127.0.0.1"}, [], []),
        ({"host": "0.0.0.0", "share_with": "lan"}, ADDRESSES, ADDRESSES),
        ({"host": "192.168.7.4"}, ["192.168.7.4"], ["192.168.7.4"]),
        ({"host": "fd00::4"}, ["[fd00::4]"], ["[fd00::4]"]),
    ],
)
def test_what_is_printed_is_what_is_answered(fields: dict[str, str], answered: list[str], printed: list[str]) -> None:
    settings = Settings.model_validate(fields)
    assert sharing.answered_hosts(settings) == (*sharing.LOOPBACK, *answered)
    text = sharing.invitation(settings, 7860)
    assert re.findall(r"^  http://(.*):7860$", text, re.MULTILINE) == printed
    assert bool(printed) == ("█" in text)


def test_a_container_or_proxy_answers_every_name() -> None:
    assert sharing.answered_hosts(Settings(host="0.0.0.0")) == ()


def test_a_machine_without_a_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "lan_addresses", list)
    assert "no address in a local network" in sharing.invitation(Settings(host="0.0.0.0", share_with="lan"), 7860)


SECURE_ONLY = re.compile(
    r"crypto\.(randomUUID|subtle)|navigator\.(clipboard|serviceWorker|locks|storage|share|wakeLock|mediaDevices|credentials)"
    r"|\bcaches\.|cookieStore|showSaveFilePicker|Notification\b"
)
"""What browsers offer only over https and on this machine; a playtest in a LAN is plain http."""


def test_no_module_needs_a_secure_context_without_asking() -> None:
    offences = []
    for name in assets.modules():
        text = (assets.STATIC / name).read_text("utf-8")
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            guarded = any("isSecureContext" in near or "?." in near for near in lines[max(0, number - 6) : number])
            if SECURE_ONLY.search(line) and not guarded:
                offences.append(f"{name}:{number}: {line.strip()}")
    assert offences == []
