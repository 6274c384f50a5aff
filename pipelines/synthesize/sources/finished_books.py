"""Read the scenes of finished books: CoSER books and test sets (`*.json`), the released HER dataset (`*.jsonl`)."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from her.characters.coser import BookScene, load_book
from her.characters.her_dataset import read_rows
from her.errors import InputError
from her.format import merged
from her.training_data.splits import title_key
from pipelines.synthesize.notes import Skip
from pipelines.synthesize.sources.held_back import as_of_the_beginning


def finished_files(paths: Iterable[Path], skip: Skip) -> list[Path]:
    """Return the files of scenes among these files and folders, sorted by name; of one book in two files, the larger.

    Raises:
        InputError: a path does not exist, or there is no such file at all.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"'{path}' does not exist; give a CoSER file, a file of the HER dataset, or a folder of them")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [file for file in inside if file.suffix in (".json", ".jsonl") and file.is_file()]
    kept: dict[str, Path] = {}
    for file in dict.fromkeys(files):  # a file may be given itself and in a folder
        if reason := _other_shape(file, files):
            skip(file.name, reason)
            continue
        key = f"{title_key(file.stem)}{file.suffix}"
        if (other := kept.get(key)) is not None:
            smaller, larger = sorted((other, file), key=lambda path: (path.stat().st_size, path.name))
            skip(smaller.name, f"the same book as the larger '{larger.name}'")
            file = larger
        kept[key] = file
    if not kept:
        raise InputError(f"no file of scenes (*.json, *.jsonl) in {', '.join(repr(str(path)) for path in paths) or 'nothing'}")
    return list(kept.values())


def read_scenes(files: Iterable[Path], skip: Skip, hold_back: bool = False) -> Iterator[BookScene]:
    """Read the scenes of these files, one file or JSONL line in memory; an unreadable file is skipped with its reason.

    Neighbouring turns of one speaker are merged before any stage sees them: a plan leads to the whole turn that is trained.

    Args:
        hold_back: whether profiles of CoSER books lose what they tell of later than the scene (see `held_back`).
    """
    seen: set[str] = set()
    for file in files:
        try:
            for scene in _scenes(file, skip, hold_back):
                # A test set holds scenes of books that may be in the same folder; ids are made from book, plot and number.
                if scene.id in seen:
                    place = f"plot {scene.plot}, conversation {scene.conversation} of {scene.book}"
                    skip(file.name, f"{place} was in an earlier file")
                    continue
                seen.add(scene.id)
                yield scene.model_copy(update={"turns": merged(scene.turns)})
        except InputError as error:
            skip(file.name, str(error))


def _scenes(file: Path, skip: Skip, hold_back: bool) -> Iterator[BookScene]:
    if file.suffix == ".jsonl":
        yield from read_rows(file, skip)
        return
    book = load_book(file)
    for reason in book.skipped:
        skip(file.name, reason)
    if not hold_back:
        yield from book.scenes
        return
    count = 0
    for scene, held in as_of_the_beginning(book.scenes):
        count += held
        yield scene
    if count:
        skip(file.name, f"{count} sentences of profiles that tell of later than their scene (books_to_scenes.hold_back)")


def _other_shape(file: Path, files: Sequence[Path]) -> str:
    """Return why a file of the released dataset is skipped (the same conversations in another shape), or an empty text."""
    if file.suffix != ".jsonl" or not file.stem.startswith("HER_dataset_"):
        return ""
    if "_sft_" in file.stem:
        return "chats made from the scenes of the full_info or clean file; the scenes are read instead"
    full = file.with_name("HER_dataset_full_info.jsonl")
    return "the full_info file beside it holds the same scenes" if file.stem.endswith("_clean") and full in files else ""
