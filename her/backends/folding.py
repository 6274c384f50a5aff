"""Fold the system text into the first user message, for servers and chat templates that have no system role."""

from collections.abc import Sequence

from her.types import Message

JOINT = "\n\n"
"""Between the system text and the user's, and between messages of one role that become one."""


def fold_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages without a system role: its texts stand at the beginning of the first user message, in order.

    Without a user message they become one. Neighbours of one role become one message, because what has no system role mostly
    wants roles to alternate, and begins with the user.
    """
    system = [message.content for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    if not system:
        return join_neighbours(others)
    return join_neighbours([Message(role="user", content=JOINT.join(system)), *others])


def join_neighbours(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages with neighbours of one role joined by a blank line."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(role=message.role, content=joined[-1].content + JOINT + message.content)
        else:
            joined.append(message)
    return tuple(joined)
