"""The handlers of the service: what each address does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, Response, StreamingResponse

from features.files import PARTIAL_PREFIX
from features.notation import names_a_file
from features.references import open_reference
from features.symbols import NotationError
from features.text_files import unprintable
from flowmusic.api.clip import ClipInfo
from flowmusic.api.request import Request
from flowmusic.model_files import BUNDLED
from flowmusic.studio.about import about
from flowmusic.studio.endpoints import ENDPOINTS
from flowmusic.studio.jobs import Studio
from flowmusic.studio.lanes import LANES, items, symbols
from flowmusic.studio.messages import (
    BusyError,
    JsonResponse,
    attachment,
    json_body,
    kept_json,
    number_of,
    receive,
)
from flowmusic.studio.midi_file import midi_file
from flowmusic.studio.openapi import openapi
from flowmusic.studio.session import NotFoundError, new_id
from flowmusic.studio.take_home import chart_of, command_of, converted, download_name, zip_of
from flowmusic.studio.takes import Take, TakePaths, peaks, take_paths
from flowmusic.studio.uploads import open_upload, suffix_of

MAX_SENDING = 4
_MEDIA = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}


class Service:
    """The handlers of `ENDPOINTS`, each by its name there; what they do on disk is done in threads."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.session_ = studio, studio.session
        self._sending = 0

    async def about(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(about, self.studio.model))

    async def openapi(self, http: HttpRequest) -> Response:
        return JsonResponse(openapi(ENDPOINTS))

    async def session(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.plain))

    async def patch_session(self, http: HttpRequest) -> Response:
        changes = await json_body(http)
        return JsonResponse(await run_in_threadpool(self.session_.patch, changes))

    async def session_zip(self, http: HttpRequest) -> Response:
        name = download_name(self.session_.plain()["name"], ".zip")
        return StreamingResponse(
            zip_of(self.session_), media_type="application/zip", headers=attachment(name)
        )

    async def upload(self, http: HttpRequest) -> Response:
        name = http.query_params.get("name", "")
        if not name or len(name) > 200 or unprintable(name):
            raise ValueError("name must be that of the file, up to 200 characters")
        name = name.replace("\\", "/").rpartition("/")[2]
        suffix_of(name)
        self.session_.check_room()
        if self._sending >= MAX_SENDING:
            raise BusyError(f"{MAX_SENDING} uploads are on their way already")
        self._sending += 1
        identity = new_id()
        sent = self.session_.uploads_folder / f"{PARTIAL_PREFIX}{identity}"
        try:
            await receive(http, sent, name)
            upload = await run_in_threadpool(open_upload, sent, self.session_.uploads_folder, identity, name)
            await run_in_threadpool(self.session_.add_upload, upload)
        finally:
            self._sending -= 1
            sent.unlink(missing_ok=True)
        return JsonResponse(upload.plain())

    async def delete_upload(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.delete_upload, http.path_params["id"]))

    async def restore_upload(self, http: HttpRequest) -> Response:
        identity = http.path_params["id"]
        return JsonResponse(await run_in_threadpool(self.session_.delete_upload, identity, False))

    async def upload_audio(self, http: HttpRequest) -> Response:
        return FileResponse(self._recording(http), media_type="audio/wav")

    async def upload_peaks(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(peaks, self._recording(http), number_of(http, "n", 2000)))

    def _recording(self, http: HttpRequest) -> Path:
        upload = self.session_.upload(http.path_params["id"])
        if upload.kind != "recording":
            raise NotFoundError(f"{upload.name} is no recording")
        return self.session_.upload_path(upload)

    async def upload_curve(self, http: HttpRequest) -> Response:
        upload = self.session_.upload(http.path_params["id"])
        path = self.session_.upload_path(upload)
        if upload.kind == "recording":
            return JsonResponse(
                await kept_json(path.with_suffix(".curve.json"), "its melody was not extracted yet")
            )
        return JsonResponse((await kept_json(path, "it is gone")).get("curve", []))

    async def read_lane(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self._read_lane, await json_body(http)))

    def _read_lane(self, typed: Any) -> Any:
        if not isinstance(typed, dict) or not isinstance(typed.get("text"), str):
            raise ValueError("expected an object of role and text")
        if typed.get("role") != "chords":
            raise ValueError("only chords are typed: expected the role chords")
        text = typed["text"]
        if text.strip() and names_a_file(text):  # a client's path is never opened
            raise NotationError(f"{text!r:.80} names a file; expected a chart such as 'Am | F C | G7'")
        state = self.session_.plain()
        Request(chords=text, bpm=state["bpm"], beats_per_bar=state["beats_per_bar"])
        reference = open_reference("chords", text, state["bpm"], state["beats_per_bar"])
        return items("chords", reference.chord_segments(state["duration"]))

    async def add_job(self, http: HttpRequest) -> Response:
        job = await run_in_threadpool(self.studio.add_job, await json_body(http))
        return JsonResponse({"id": job.id}, 202)

    async def jobs(self, http: HttpRequest) -> Response:
        return JsonResponse(self.studio.queue.jobs())

    async def cancel(self, http: HttpRequest) -> Response:
        try:
            return JsonResponse(self.studio.queue.cancel(http.path_params["id"]).plain())
        except KeyError as error:
            raise NotFoundError("there is no job of this id") from error

    async def events(self, http: HttpRequest) -> Response:
        stream = self.studio.hub.stream(http.headers.get("last-event-id", ""))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def takes(self, http: HttpRequest) -> Response:
        return JsonResponse([take.plain() for take in self.session_.takes()])

    async def patch_take(self, http: HttpRequest) -> Response:
        changes = await json_body(http)
        identity = self._take(http)[0].id
        return JsonResponse(await run_in_threadpool(self.session_.patch_take, identity, changes))

    async def delete_take(self, http: HttpRequest) -> Response:
        return JsonResponse(await run_in_threadpool(self.session_.delete_take, self._take(http)[0].id))

    async def restore_take(self, http: HttpRequest) -> Response:
        identity = self._take(http)[0].id
        return JsonResponse(await run_in_threadpool(self.session_.delete_take, identity, False))

    async def audio(self, http: HttpRequest) -> Response:
        take, paths = self._take(http)
        kind = http.query_params.get("format", "wav")
        if kind not in _MEDIA:
            raise ValueError(f"format must be one of {', '.join(_MEDIA)}, got {kind!r:.40}")
        path = paths.sound
        if kind != "wav":
            path = await run_in_threadpool(converted, path, f".{kind}")
        filename = download_name(take.name, f".{kind}") if "download" in http.query_params else None
        return FileResponse(path, media_type=_MEDIA[kind], filename=filename)

    async def plot(self, http: HttpRequest) -> Response:
        path = self._take(http)[1].plot
        if not path.is_file():
            raise NotFoundError("it was not drawn yet: the event `take` follows when it is")
        return FileResponse(path, media_type="image/png")

    async def sidecar(self, http: HttpRequest) -> Response:
        take, paths = self._take(http)
        filename = download_name(take.name, ".json") if "download" in http.query_params else None
        return FileResponse(paths.sidecar, media_type="application/json", filename=filename)

    async def peaks(self, http: HttpRequest) -> Response:
        path = self._take(http)[1].sound
        return JsonResponse(await run_in_threadpool(peaks, path, number_of(http, "n", 2000)))

    async def asked(self, http: HttpRequest) -> Response:
        return JsonResponse(await kept_json(self._take(http)[1].asked, "what was asked is not known"))

    async def heard(self, http: HttpRequest) -> Response:
        return JsonResponse(await self._heard(http))

    async def _heard(self, http: HttpRequest) -> Any:
        return await kept_json(
            self._take(http)[1].extracted, "nothing was extracted yet: the event `take` follows when it is"
        )

    async def midi(self, http: HttpRequest) -> Response:
        of = http.query_params.get("of", "asked")
        if of not in ("asked", "heard"):
            raise ValueError(f"of must be asked or heard, got {of!r:.40}")
        take, paths = self._take(http)
        lanes = (
            (await self._heard(http))["lanes"] if of == "heard" else await kept_json(paths.asked, "unknown")
        )
        parts = {role: symbols(role, lanes.get(role, [])) for role in LANES}
        content = midi_file(**parts, bpm=self.session_.plain()["bpm"])
        headers = attachment(download_name(f"{take.name} ({of})", ".mid"))
        return Response(content, media_type="audio/midi", headers=headers)

    async def chart(self, http: HttpRequest) -> Response:
        lanes = await kept_json(self._take(http)[1].asked, "what was asked is not known")
        if not lanes.get("chords"):
            raise NotFoundError("it follows no chords")
        state = self.session_.plain()
        text = await run_in_threadpool(chart_of, lanes["chords"], state["bpm"], state["beats_per_bar"])
        return Response(text, media_type="text/plain")

    async def command(self, http: HttpRequest) -> Response:
        info = await run_in_threadpool(ClipInfo.load, self._take(http)[1].sidecar)
        return JsonResponse(command_of(info, bundled=info.model.name == BUNDLED))

    def _take(self, http: HttpRequest) -> tuple[Take, TakePaths]:
        take = self.session_.take(http.path_params["id"])
        return take, take_paths(self.session_.takes_folder, take.id)
