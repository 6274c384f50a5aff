"""Requests of a playtest: consent, missions, and everything about one person."""

from typing import Literal

from her.ui.request_fields import Name, OptionalId, Request


class AgreeRequest(Request):
    """Agree to the text of the playtest, in the version that was read."""

    act: Literal["agree"]
    version: OptionalId


class MissionRequest(Request):
    """Show the mission that the visitor is at, or give them one; `mission` is one of a link, empty for any."""

    act: Literal["mission"]
    mission: OptionalId = ""


class BeginMissionRequest(Request):
    """Open the chat of the visitor's mission, which is begun with this name if it was not yet."""

    act: Literal["begin_mission"]
    name: Name = ""


class GiveUpMissionRequest(Request):
    """Give the visitor's mission back and show another one."""

    act: Literal["give_up_mission"]


class PersonalFileRequest(Request):
    """Download everything that is stored about the visitor."""

    act: Literal["my_rows"]


class DeleteEverythingRequest(Request):
    """Delete everything that is stored about the visitor, here and from every export."""

    act: Literal["delete_everything"]


PlaytestRequest = (
    AgreeRequest | MissionRequest | BeginMissionRequest | GiveUpMissionRequest | PersonalFileRequest | DeleteEverythingRequest
)
