"""Everything the service answers: one table, of which its routes and its OpenAPI description are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """One row of the table of routes; `query` names its parameters, `body` and `gives` are JSON schemas."""

    method: str
    path: str
    summary: str
    handler: str
    query: tuple[str, ...] = ()
    body: str | None = None
    gives: str = "object"


ENDPOINTS = (
    Endpoint("GET", "/api/about", "Version, model, defaults, schema of a request, presets", "about"),
    Endpoint("GET", "/api/openapi.json", "This description", "openapi"),
    Endpoint("GET", "/api/session", "The session as it stands", "session", gives="Session"),
    Endpoint("PATCH", "/api/session", "Change the session; saved before the answer", "patch_session",
             body="SessionPatch", gives="Session"),
    Endpoint("GET", "/api/session.zip", "The whole session", "session_zip", gives="application/zip"),
    Endpoint("POST", "/api/uploads", "Send a file, as raw bytes", "upload", ("name",),
             body="bytes", gives="Upload"),
    Endpoint("GET", "/api/uploads/{id}/audio", "The sound of an upload", "upload_audio", gives="audio/wav"),
    Endpoint("GET", "/api/uploads/{id}/peaks", "Lowest and highest sample of parts", "upload_peaks", ("n",)),
    Endpoint("GET", "/api/uploads/{id}/curve", "Pitch: [seconds, Hz], 0 where unvoiced", "upload_curve"),
    Endpoint("DELETE", "/api/uploads/{id}", "Hide an upload", "delete_upload", gives="Upload"),
    Endpoint("POST", "/api/uploads/{id}/restore", "Show a hidden upload again", "restore_upload",
             gives="Upload"),
    Endpoint("POST", "/api/lanes/read", "Typed chords as items of a lane", "read_lane", body="Typed"),
    Endpoint("POST", "/api/jobs", "Ask for lanes to be extracted or takes to be made", "add_job",
             body="Ask", gives="Id"),
    Endpoint("GET", "/api/jobs", "Jobs that wait, run, or are over", "jobs"),
    Endpoint("DELETE", "/api/jobs/{id}", "Cancel a job", "cancel", gives="Job"),
    Endpoint("GET", "/api/events", "Server-sent events: session, job, take, reload", "events",
             gives="text/event-stream"),
    Endpoint("GET", "/api/takes", "All takes", "takes"),
    Endpoint("PATCH", "/api/takes/{id}", "Name or star a take", "patch_take", body="TakePatch", gives="Take"),
    Endpoint("DELETE", "/api/takes/{id}", "Hide a take", "delete_take", gives="Take"),
    Endpoint("POST", "/api/takes/{id}/restore", "Show a hidden take again", "restore_take", gives="Take"),
    Endpoint("GET", "/api/takes/{id}/audio", "Its sound: wav, flac or ogg", "audio", ("format", "download"),
             gives="audio/wav"),
    Endpoint("GET", "/api/takes/{id}/plot", "Asked against heard, as a picture", "plot", gives="image/png"),
    Endpoint("GET", "/api/takes/{id}/sidecar", "How it was made", "sidecar"),
    Endpoint("GET", "/api/takes/{id}/peaks", "Lowest and highest sample of parts", "peaks", ("n",)),
    Endpoint("GET", "/api/takes/{id}/asked", "The lanes that it follows", "asked"),
    Endpoint("GET", "/api/takes/{id}/heard", "What the extractors find in it", "heard"),
    Endpoint("GET", "/api/takes/{id}/midi", "What was asked, or is heard, as MIDI", "midi", ("of",),
             gives="audio/midi"),
    Endpoint("GET", "/api/takes/{id}/chart", "The chords that it follows, as a chart", "chart",
             gives="text/plain"),
    Endpoint("GET", "/api/takes/{id}/command", "Command line and Python that make it again", "command"),
)  # fmt: skip
