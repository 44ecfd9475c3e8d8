"""How long pairs will take, and how much room, by drawing some that are not kept: `--estimate`."""

from collections.abc import Callable, Sequence

from data_module.film_files import encode_film
from data_module.sampling_plan import PlannedPair
from data_module.synthetic import Drawn, Plan
from runtime.estimates import measure_s, show_duration
from runtime.files import show_bytes

Sample = Callable[[Sequence[int], Sequence[PlannedPair]], tuple]


def describe_sampling_pace(
    sample: Sample,
    plan: Plan,
    items: range,
    batch_size: int,
    num_done: int,
    num_shards: int,
    image_format: str,
) -> str:
    """Lines that say how fast pairs are drawn, and what the whole run of `items` takes.

    Args:
        num_done: items that an earlier run has drawn.
        num_shards: processes that share what is left, each as fast as this one.
    """
    batch = list(range(items.start, items.start + batch_size))
    planned, sizes = [plan[item] for item in batch], list[int]()

    def draw() -> None:
        films = Drawn(*sample(batch, planned)).films
        for film in (film for film in films if film is not None):
            num_bytes = len(encode_film(film, image_format))
            sizes.append(num_bytes + 1500)  # and its row of the table, in the ledger too

    rate = batch_size / measure_s(draw)
    left = max(0, len(items) - num_done)
    room = sum(sizes) / max(1, len(sizes)) * len(items)
    return (
        f"{rate:.2f} pairs/s in this process; {left:,} of {len(items):,} pairs are left: "
        f"{show_duration(left / rate / num_shards)} with {num_shards} such process(es)\n"
        f"the folder: about {show_bytes(int(room))} in {len(items):,} films, 1,000 to a subfolder"
    )
