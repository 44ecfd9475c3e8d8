"""Files onto the Hugging Face hub, through its own client; what goes wrong is said in one line."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

FILES_PER_COMMIT = 1000  # the hub asks for few files a commit; what is there already is not sent again
RepoKind = Literal["dataset", "model"]
File = Path | bytes  # on the disk, or its content


def upload(files: Mapping[str, File], repo: str, kind: RepoKind, private: bool) -> str:
    """Put files into a repository of the hub, which is made where there is none; returns its address.

    The last of the files are sent last, in a commit of their own where there are many.

    Args:
        files: name in the repository -> what goes there.
        repo: OWNER/NAME.

    Raises:
        ValueError: a name that the hub does not take, no token, one that may not write there, no network,
            or an answer of the hub that is no success; names the fix.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    check_repo(repo)
    if not get_token():
        raise ValueError(f"--repo {repo}: no token of the hub; run `hf auth login`, or set HF_TOKEN")
    api = HfApi(library_name="paircxr")
    names = list(files)
    with _explained(repo, api.endpoint):
        address = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        for start in range(0, len(names), FILES_PER_COMMIT):
            end = min(start + FILES_PER_COMMIT, len(names))
            api.create_commit(
                repo,
                [CommitOperationAdd(name, files[name]) for name in names[start:end]],
                commit_message=f"Upload by PairCXR, files {start + 1} to {end}",
                repo_type=kind,
            )
    return str(address)


def check_repo(repo: str) -> None:
    """Raise ValueError for what is no OWNER/NAME as the hub takes it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        repo = ""
    if repo.count("/") != 1:
        raise ValueError("--repo takes OWNER/NAME, of letters, digits, '-', '_' and '.'")


@contextmanager
def _explained(repo: str, endpoint: str) -> Iterator[None]:
    """Errors of the hub's client as a ValueError that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    causes = {
        401: "the hub does not know the token: run `hf auth login`, or set HF_TOKEN",
        403: "the token may not write there: make one with the write role, or name a repository of yours",
        404: "the hub has no such repository, or the token may not see it",
        413: "the hub takes no more there: it is too large",
        429: "the hub asks to wait: run the command again later, it goes on",
    }
    try:
        yield
    except OfflineModeIsEnabled:
        raise ValueError(f"--repo {repo}: HF_HUB_OFFLINE is set; unset it to upload") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        cause = causes.get(code, "run the command again later, it goes on")
        raise ValueError(f"--repo {repo}: {cause} (HTTP {code})") from None
    except (HTTPError, ConnectionError) as error:  # of the client's HTTP library, whichever it is
        what = type(error).__name__
        raise ValueError(
            f"--repo {repo}: {endpoint} cannot be reached ({what}): is there a network?"
        ) from None
    except (RuntimeError, ValueError) as error:  # of a file's transfer, or of an answer that makes no sense
        line = next(iter(str(error).splitlines()), "")
        raise ValueError(
            f"--repo {repo}: the upload failed ({line}); run the command again, it goes on"
        ) from None
