"""Tar archives, read member by member. A damaged or cut archive is an error, and never a shorter one.

Python's tarfile takes a damaged header, or the end of the file, for the end of the archive.
"""

import contextlib
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

_CHUNK = 2**20


class _CheckedInfo(tarfile.TarInfo):
    """A header that is damaged or missing is an error; only a block of zeros ends an archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue]  # not in typeshed
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or cut: {error}") from None


class Member(NamedTuple):
    """A member of an archive."""

    info: tarfile.TarInfo
    tar: tarfile.TarFile
    where: str

    @property
    def name(self) -> str:
        """Without its folders, so that it leads nowhere else."""
        return self.info.name.rsplit("/", 1)[-1]

    def read(self, limit: int) -> bytes | None:
        """Its content, at most one byte more than `limit`; None for anything but a plain file.

        Raises:
            ValueError: the archive is damaged here.
        """
        if not self.info.isreg():
            return None
        with _naming(self.where):
            file = self.tar.extractfile(self.info)
            content = file.read(limit + 1) if file else b""
            if len(content) < min(self.info.size, limit + 1):
                raise EOFError("it ends within a member")
            return content


def iterate_members(path: Path, where: str, progress: str = "") -> Iterator[Member]:
    """Every member of a tar archive, packed or not. Nothing is unpacked to the disk.

    Args:
        where: what messages call it.
        progress: title of a progress bar.

    Raises:
        ValueError: it is missing, no archive, cut or damaged. This shows at the latest behind the last
            member, where the sum of the whole is checked: nothing is certain before.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{where}: is not a plain file")
    with _naming(where), tarfile.open(path, tarinfo=_CheckedInfo) as tar:
        for info in tqdm(tar, desc=progress, unit="file") if progress else tar:
            yield Member(info, tar, where)
        while chunk := tar.fileobj.read(_CHUNK):  # to the end, where the sum of the packed file is checked
            if chunk.strip(b"\0"):
                raise tarfile.ReadError("there is more behind its end")


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error).partition(":\n")[0]  # one line
        raise ValueError(
            f"{where}: damaged, cut or half downloaded, no whole tar archive ({why}); "
            "delete it and get it again"
        ) from None
    except (ValueError, OverflowError) as error:  # numbers in a header that no file has
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: damaged: a header holds no number; delete it and get it again") from None
