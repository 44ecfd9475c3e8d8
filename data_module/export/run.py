"""What `python -m data_module export` does."""

from data_module.exact_table import open_exact
from data_module.export.config import ExportConfig
from data_module.pairs import PairsFolder
from runtime.locks import Claim, is_unused

_CARD = """# Chest films and reports

{count} films with their reports, exported from a pairs folder (`python -m data_module export --layout
{layout}`). Splits: {splits}. Not for clinical use.
"""


def export_folder(config: ExportConfig) -> int:
    """Write the pairs folder in the layout; returns the number of rows.

    Raises:
        ValueError: no pairs folder, one without films, a film that is missing, or an --out that is not empty.
    """
    if config.shard_size < 1:
        raise ValueError(f"--shard-size {config.shard_size}: give at least 1")
    pairs = open_exact(config.data)
    if not pairs.has_films:
        raise ValueError(f"--data {config.data}: a text-only pairs folder has no films to export")
    missing = [name for name in pairs.table["file_name"] if not (pairs.root / name).is_file()]
    if missing:
        raise ValueError(f"--data {config.data}: {len(missing)} of its films are not there")
    if config.out.is_file() or (config.out.is_dir() and not is_unused(config.out)):
        raise ValueError(f"--out {config.out} is not empty; give another folder")
    with Claim(config.out):
        _write(pairs, config)
    return len(pairs)


def _write(pairs: PairsFolder, config: ExportConfig) -> None:
    from data_module.export import dicom, folders, rexrank, shards

    match config.layout:
        case "imagefolder":
            folders.write_imagefolder(pairs, config.out)
        case "annotation-json":
            folders.write_annotation_json(pairs, config.out)
        case "rexrank":
            rexrank.write_rexrank(pairs, config.out)
        case "chexgenbench":
            folders.write_chexgenbench(pairs, config.out)
        case "webdataset":
            shards.write_webdataset(pairs, config.out, config.shard_size)
        case "parquet":
            shards.write_parquet(pairs, config.out, config.shard_size)
        case "dicom":
            dicom.write_dicom(pairs, config.out, config.synthetic)
            return
    counts = pairs.table["split"].value_counts().to_dict()
    splits = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    card = _CARD.format(count=f"{len(pairs):,}", layout=config.layout, splits=splits)
    (config.out / "README.md").write_text(card)
