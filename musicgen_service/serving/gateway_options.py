"""What one gateway has in place of another."""

from dataclasses import dataclass, field
from pathlib import Path

from musicgen_service.serving import bodies
from musicgen_service.serving.api_keys import ApiKeys
from musicgen_service.serving.models import Model, Models


@dataclass(frozen=True)
class GatewayOptions:
    """What one gateway has in place of another.

    Attributes
    ----------
    models : what is served
    slots : number of predictions that Cog carries out at the same time
    places : number of predictions that may wait
    connections_per_address : maximum connections of one address
    head_seconds : maximum time for the head of a request to arrive
    body_limits : see `bodies.Limits`; None for the defaults
    keys : API keys that are valid; None when nobody needs one
    hosts, origins : see `Hosts`
    requests_per_minute : how many requests a client may send
    max_audio_seconds : how much audio one request may ask for
    audio_seconds_per_minute : how much audio a client may ask for
    prediction_seconds : how long a prediction may run
    results : folder of finished predictions, in a sub-folder for each port; None for a temporary one
    keep_seconds : how long they, and uploads, are kept
    metrics : who may read the metrics; one of `settings.METRICS`
    access_log : whether each request is noted on standard output
    max_upload, max_uploads : maximum bytes of an uploaded file, and of all files of one client
    max_archive : maximum bytes of an uploaded zip or tar, if it is more than that of a file
    webhook_secret : what webhooks are signed with; None for no signatures
    upload_url : below which the files of results are put; None to keep them here alone
    trainings : whether clients may train adapters
    public_url : the address by which clients know the service; None for that of their requests
    """

    models: Models = field(default_factory=lambda: Models([Model("")]))
    slots: int = 1
    places: int = 100
    connections_per_address: int = 1000
    head_seconds: float = 10.0
    body_limits: bodies.Limits | None = None
    keys: ApiKeys | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    requests_per_minute: float = 6000.0
    max_audio_seconds: float = 1200.0
    audio_seconds_per_minute: float = 6000.0
    prediction_seconds: float = 3600.0
    results: Path | None = None
    keep_seconds: float = 3600.0
    metrics: str = "key"
    access_log: bool = True
    max_upload: int = 100 * 2**20
    max_archive: int = 0
    max_uploads: int = 500 * 2**20
    webhook_secret: str | None = None
    upload_url: str | None = None
    trainings: bool = False
    public_url: str | None = None
