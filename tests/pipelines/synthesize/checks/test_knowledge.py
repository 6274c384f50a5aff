"""Knowledge of a character at a turn, and what is hidden from it."""

from pipelines.synthesize.checks.knowledge import hidden_piece, sight
from tests.teaching import a_scene


def test_nothing_hidden_is_in_sight() -> None:
    """Others' thoughts, others' motivations and later turns are hidden; own thoughts and all that was visible are known."""
    seen = sight(a_scene().transcript(), 4)  # Othello
    assert hidden_piece("He bites, I must feed him slowly", seen)
    assert hidden_piece("doubt his wife without being told to", seen)
    assert hidden_piece("Did Michael Cassio, when you wooed my lady", seen)
    assert not hidden_piece("Nothing, my lord; or if, I know not what", seen)
    assert not hidden_piece("I saw somebody slip away", seen)
    assert not hidden_piece("Othello wants to go on loving Desdemona in peace", seen)
