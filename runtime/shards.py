"""Work divided among machines: `--shard i/n`."""


def parse_shard(text: str) -> tuple[int, int]:
    """ "i/n" -> (i, n). Raises ValueError unless 0 <= i < n."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"--shard {text!r}: write i/n with 0 <= i < n, such as 0/4")
    return int(index), int(count)
