"""A session: a folder on disk that holds everything, changed by whole files only."""

from __future__ import annotations

import copy
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

from features.files import PARTIAL_PREFIX, whole_file
from features.text_files import read_json, unprintable
from flowmusic.api.request import OF_A_LANGUAGE_MODEL, Request
from flowmusic.studio.lanes import LANES, check_lane
from flowmusic.studio.takes import Take, read_take, take_paths
from flowmusic.studio.uploads import MAX_UPLOADS, Upload

log = logging.getLogger(__name__)

FORMAT = "flowmusic.session.1"
MAX_NAME = 200
MAX_STRENGTH = 10.0
FREE_FIELDS = (
    "text", "guidance", "steps", "solver", *OF_A_LANGUAGE_MODEL, "seed", "loudness", "loop",
    "compose", "song", "style", "style_codebooks", "style_excerpt",
)  # fmt: skip
"""Fields of `Request` that a session sets as they are; `style` is the id of an upload."""

EDITABLE = ("name", "duration", "bpm", "beats_per_bar", "request", "lanes", "use", "selected")
_ID = re.compile(r"[0-9a-f]{12}")


class NotFoundError(KeyError):
    """There is no take, upload or job of this id."""

    def __str__(self) -> str:
        return str(self.args[0])


def new_id() -> str:
    """A name that only the server makes: no path of a client's is ever opened."""
    return secrets.token_hex(6)


def is_id(text: object) -> bool:
    return isinstance(text, str) and _ID.fullmatch(text) is not None


class Session:
    """The state of a session, safe for threads; every change is on disk before its method returns.

    Args:
        folder: made if it is not there.
        duration_s: of a new session.
        publish: called with ("take", {...}) where one was added or changed, and ("session", {"revision"})
            after every change.
    """

    def __init__(
        self, folder: Path, duration_s: float = 10.0, publish: Callable[[str, Any], None] = lambda *_: None
    ) -> None:
        self.folder = folder
        self._publish = publish
        self._lock = RLock()
        for path in (self.uploads_folder, self.takes_folder, self.lanes_folder):
            path.mkdir(parents=True, exist_ok=True)
            for partial in path.glob(f"{PARTIAL_PREFIX}*"):
                partial.unlink(missing_ok=True)
        for partial in folder.glob(f"{PARTIAL_PREFIX}*"):
            partial.unlink(missing_ok=True)
        self._takes: dict[str, Take] = {}
        self._uploads: dict[str, Upload] = {}
        self._state = _fresh(duration_s)
        self._read()

    @property
    def uploads_folder(self) -> Path:
        return self.folder / "uploads"

    @property
    def takes_folder(self) -> Path:
        return self.folder / "takes"

    @property
    def lanes_folder(self) -> Path:
        return self.folder / "lanes"

    def plain(self) -> dict[str, Any]:
        """All of it, as the page sees it."""
        with self._lock:
            return copy.deepcopy(self._state) | {
                "uploads": [upload.plain() for upload in self._uploads.values()],
                "takes": [take.plain() for take in self._takes.values()],
            }

    def patch(self, changes: object) -> dict[str, Any]:
        """Change some fields, and give the session as it is then.

        Raises:
            ValueError: a change that cannot be, in one sentence; nothing is changed then.
        """
        with self._lock:
            state = copy.deepcopy(self._state)
            _merge(state, changes)
            self._check(state)
            with self._changing():
                self._state = state | {"revision": self._state["revision"]}
            return self.plain()

    def check(self) -> None:
        """ValueError where the session, as it stands, asks for what cannot be."""
        with self._lock:
            self._check(self._state)

    def upload(self, identity: object) -> Upload:
        """NotFoundError where there is none of this id."""
        with self._lock:
            if not isinstance(identity, str) or identity not in self._uploads:
                raise NotFoundError("there is no upload of this id")
            return self._uploads[identity]

    def upload_path(self, upload: Upload) -> Path:
        """What was understood of an upload: sound, or symbols."""
        return self.uploads_folder / (upload.id + (".wav" if upload.kind == "recording" else ".json"))

    def check_room(self) -> None:
        """ValueError where no more uploads fit."""
        with self._lock:
            held = sum(not upload.deleted for upload in self._uploads.values())
        if held >= MAX_UPLOADS:
            raise ValueError(f"the session holds {MAX_UPLOADS} files, the most there may be: delete one")

    def add_upload(self, upload: Upload) -> None:
        with self._changing():
            self._uploads[upload.id] = upload

    def delete_upload(self, identity: str, deleted: bool = True) -> dict[str, Any]:
        """Hide an upload, or show it again; what was taken from it stays, as symbols."""
        with self._lock:
            upload = replace(self.upload(identity), deleted=deleted)
            if not deleted:
                self.check_room()
            with self._changing():
                for use in self._state["use"].values():
                    if deleted and use["source"] == identity:
                        use["source"] = None
                if deleted and self._state["request"].get("style") == identity:
                    del self._state["request"]["style"]
                self._uploads[identity] = upload
            return upload.plain()

    def take(self, identity: object) -> Take:
        """NotFoundError where there is none of this id."""
        with self._lock:
            if not isinstance(identity, str) or identity not in self._takes:
                raise NotFoundError("there is no take of this id")
            return self._takes[identity]

    def takes(self) -> list[Take]:
        with self._lock:
            return list(self._takes.values())

    def put_take(self, take: Take, select: bool = False, job: str | None = None) -> None:
        """Add a take whose files stand already, or replace what is known of it; `job` has made it."""
        with self._changing() as news:
            if take.id not in self._takes and not take.name:
                take = take.updated(name=f"Take {len(self._takes) + 1}")
            self._takes[take.id] = take
            if select:
                self._state["selected"] = take.id
            news.append(("take", {"take": take.plain(), "selected": select, "job": job}))

    def patch_take(self, identity: str, changes: object) -> dict[str, Any]:
        """Rename or star a take. ValueError where it cannot be."""
        if not isinstance(changes, Mapping):
            raise ValueError(f"expected an object of name and star, got {type(changes).__name__}")
        for key, value in changes.items():
            if key == "name":
                _check_name(value)
            elif key != "star":
                raise ValueError(f"unknown key {str(key)!r}; expected name, star")
            elif not isinstance(value, bool):
                raise ValueError(f"star must be true or false, got {value!r}")
        return self.update_take(identity, **changes).plain()

    def update_take(self, identity: str, **values: Any) -> Take:
        """The take with other values, which is then that of the session."""
        with self._lock:
            take = self.take(identity).updated(**values)
            self.put_take(take)
            return take

    def delete_take(self, identity: str, deleted: bool = True) -> dict[str, Any]:
        """Hide a take, or show it again: its files stay until the folder goes."""
        with self._lock:
            if deleted and self._state["selected"] == identity:
                self.patch({"selected": None})
            return self.update_take(identity, deleted=deleted).plain()

    @contextmanager
    def _changing(self) -> Iterator[list[tuple[str, Any]]]:
        """Change the session whole or not at all, write it, and publish; gives a list for other news."""
        news: list[tuple[str, Any]] = []
        with self._lock:
            before = (self._state, dict(self._takes), dict(self._uploads))
            self._state = copy.deepcopy(self._state)
            try:
                yield news
                self._state["revision"] += 1
                self._write()
            except BaseException:
                self._state, self._takes, self._uploads = before
                raise
            news.append(("session", {"revision": self._state["revision"]}))
        for name, data in news:
            self._publish(name, data)

    def _write(self) -> None:
        text = json.dumps({"format": FORMAT} | self.plain(), ensure_ascii=False)
        with whole_file(self.folder / "session.json") as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    def _read(self) -> None:
        """What an earlier server left: its session, and takes that it had finished but not noted any more."""
        path = self.folder / "session.json"
        if path.exists():
            values = read_json(path, "a session of flowmusic studio")
            if not isinstance(values, dict) or values.get("format") != FORMAT:
                raise ValueError(f"{path} is not a session; expected format {FORMAT!r}")
            try:
                self._uploads = {
                    item["id"]: Upload(**item | {"gives": tuple(item["gives"])})
                    for item in values["uploads"]
                    if is_id(item["id"])
                }
                noted = {item["id"]: Take(**item) for item in values["takes"] if is_id(item["id"])}
                state = _fresh(self._state["duration"])
                use = {role: state["use"][role] | values["use"][role] for role in LANES}
                state |= {key: values[key] for key in EDITABLE} | {"use": use}
                self._state = state | {"revision": int(values["revision"])}
            except (KeyError, TypeError) as error:
                raise ValueError(f"{path} is not a whole session ({error!r})") from error
            self._takes = {
                key: take for key, take in noted.items() if take_paths(self.takes_folder, key).is_whole
            }
            if lost := sorted(set(noted) - set(self._takes)):
                log.warning("%s names takes whose files are gone: %s", path, ", ".join(lost))
        for sidecar in sorted(self.takes_folder.glob("*.json"), key=lambda item: item.stat().st_mtime):
            if is_id(sidecar.stem) and sidecar.stem not in self._takes:
                try:
                    take = read_take(self.takes_folder, sidecar.stem)
                except ValueError as error:
                    log.warning("%s", error)
                    continue
                self._takes[take.id] = take.updated(name=f"Take {len(self._takes) + 1}")
        if self._state["selected"] not in self._takes:
            self._state["selected"] = None
        self._check(self._state)
        self._write()

    def _check(self, state: dict[str, Any]) -> None:
        _check_name(state["name"])
        request = {key: value for key, value in state["request"].items() if key != "style"}
        if (style := state["request"].get("style")) is not None:
            upload = self.upload(style) if isinstance(style, str) else None
            if upload is None or "style" not in upload.gives:
                raise ValueError("style must be the id of an upload that is a recording")
            request["style"] = str(self.upload_path(upload))
        Request.read(request | {key: state[key] for key in ("duration", "bpm", "beats_per_bar")})
        for role, use in state["use"].items():
            _check_use(role, use)
            if use["source"] is not None and self.upload(use["source"]).kind != "recording":
                raise ValueError(f"the source of {role} must be the id of an upload that is a recording")
            if use["origin"] is not None:
                self.upload(use["origin"])
        if state["selected"] is not None:
            self.take(state["selected"])


FRESH_USE: dict[str, Any] = {"mute": False, "span": None, "strength": None, "source": None, "origin": None}
"""How a lane is used: `source` is the recording that stands for it while nobody has edited it, `origin` the
upload that it was taken from, whatever was edited since."""


def _fresh(duration_s: float) -> dict[str, Any]:
    return {
        "revision": 0,
        "name": "Untitled",
        "duration": duration_s,
        "bpm": 120.0,
        "beats_per_bar": 4.0,
        "request": {"text": None, "seed": 0},
        "lanes": {role: [] for role in LANES},
        "use": {role: dict(FRESH_USE) for role in LANES},
        "selected": None,
    }


def _merge(state: dict[str, Any], changes: object) -> None:
    """Put the changes into `state`: field by field for `request` and `use`, a lane as a whole."""
    if not isinstance(changes, Mapping):
        raise ValueError(f"expected an object of {', '.join(EDITABLE)}, got {type(changes).__name__}")
    for key, value in changes.items():
        if key not in EDITABLE:
            raise ValueError(f"unknown key {str(key)!r}; expected some of {', '.join(EDITABLE)}")
        if key in ("request", "lanes", "use"):
            known: tuple[str, ...] = FREE_FIELDS if key == "request" else LANES
            if not isinstance(value, Mapping):
                raise ValueError(f"{key} must be an object of {', '.join(known)}, got {value!r:.80}")
            for name in value:
                if name not in known:
                    raise ValueError(f"unknown key {str(name)!r}; expected some of {', '.join(known)}")
        if key == "request":
            merged = state["request"] | value
            state["request"] = {name: item for name, item in merged.items() if item is not None}
        elif key == "lanes":
            for role, lane in value.items():
                state["lanes"][role] = check_lane(role, lane)
                state["use"][role]["source"] = None  # what was edited is no longer what was extracted
        elif key == "use":
            for role, use in value.items():
                if not isinstance(use, Mapping) or not set(use) <= set(FRESH_USE):
                    raise ValueError(f"use.{role} must be an object of {', '.join(FRESH_USE)}")
                state["use"][role] |= use
        elif key in ("duration", "bpm", "beats_per_bar") and value is None:
            raise ValueError(f"{key} must be a number, got None")
        else:
            state[key] = value


def _check_use(role: str, use: Mapping[str, Any]) -> None:
    if not isinstance(use["mute"], bool):
        raise ValueError(f"use.{role}.mute must be true or false, got {use['mute']!r:.80}")
    strength = use["strength"]
    if strength is not None and not (_is_number(strength) and 0 <= strength <= MAX_STRENGTH):
        raise ValueError(f"use.{role}.strength must be from 0 to {MAX_STRENGTH:g}, got {strength!r:.80}")
    span = use["span"]
    if span is not None and not (
        isinstance(span, list)
        and len(span) == 2
        and all(_is_number(edge) for edge in span)
        and 0 <= span[0] < span[1] <= 3600
    ):
        raise ValueError(f"use.{role}.span must be two rising times in seconds, got {span!r:.80}")
    for name in ("source", "origin"):
        if use[name] is not None and not isinstance(use[name], str):
            raise ValueError(f"use.{role}.{name} must be the id of an upload, got {use[name]!r:.80}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or unprintable(name):
        raise ValueError(f"name must be a text of 1 to {MAX_NAME} characters, got {name!r:.80}")
