"""Settings of the page: what the flags of app.py are made of. Imports nothing heavy."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.config import SamplerConfig
from runtime.config import setting

UPLOADS = "paircxr-page-"  # how the name of the folder of uploads begins
MIN_PASSWORD = 8  # characters


@dataclass(frozen=True)
class PageConfig:
    """What the page shows, where it keeps what was drawn, and who may open it."""

    models: SamplerConfig = field(default_factory=SamplerConfig)
    classifier: str = "runs/demo/classifier"
    """Run of train_classifier.py: what it sees on a film stands beside what the report says."""
    reader: str = ""
    """Run that reads films, of train_prior_model.py or train_report_gpt.py; empty takes --prior."""
    autoencoder: str = ""
    """Run of the autoencoder that --reader was trained on; empty takes the one that its run names."""
    data: Path = Path("runs/demo/data")
    """Pairs folder: its train rows give reference films and neighbors, and it can be browsed."""
    pairs: tuple[Path, ...] = ()
    """Further pairs folders to browse and compare."""
    out: Path = setting(Path("runs/page"), identity=False)
    """Where drawn pairs are saved, each drawing as a pairs folder of its own, and the votes, votes.csv."""
    host: str = "127.0.0.1"
    """Address to listen at; any other than this machine's own needs --public."""
    port: int = 7860
    """Port to listen at; 0 takes a free one."""
    public: bool = False
    """Let other machines open the page; needs --password-file."""
    password_file: Path | None = None
    """File whose first line is the password (user name: reader)."""
    max_file_mb: int = 64
    """Larger uploads are refused."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""

    def __post_init__(self) -> None:
        if self.max_file_mb < 1:
            raise ValueError(f"--max-file-mb {self.max_file_mb}: must be at least 1")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port {self.port}: must be 0 to 65535")
        if not is_local(self.host) and not self.public:
            raise ValueError(
                f"--host {self.host} lets other machines open the page: add --public and --password-file "
                "FILE, or keep 127.0.0.1 and come through an ssh tunnel"
            )
        if self.public and self.password_file is None:
            raise ValueError("--public needs --password-file FILE: its first line is the password")

    def read_password(self) -> str:
        """The password, "" for a page that needs none.

        Raises:
            ValueError: the file is missing, or the password is short.
        """
        if self.password_file is None:
            return ""
        if not self.password_file.is_file():
            raise ValueError(f"--password-file {self.password_file}: no such file")
        lines = self.password_file.read_text(encoding="utf-8", errors="replace").splitlines()
        password = lines[0].strip() if lines else ""
        if len(password) < MIN_PASSWORD:
            raise ValueError(
                f"--password-file {self.password_file}: the first line has {len(password)} characters; "
                f"{MIN_PASSWORD} are needed"
            )
        return password


def is_local(host: str) -> bool:
    """Whether an address is this machine's own, which no other machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
