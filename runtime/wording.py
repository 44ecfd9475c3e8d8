"""Words of messages."""

from collections.abc import Sequence


def shorten(names: Sequence[str], count: int = 4, between: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return between.join(names[:count]) + more
