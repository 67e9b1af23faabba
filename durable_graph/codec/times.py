"""Dates, times and zones, in binary: fields of fixed size, then the zone.

`fold` is the highest bit of the microseconds. A zone is empty (naive), `o` with the timedelta of a fixed offset (and
`n` with its name, if it has one), `z` with the key of a `zoneinfo.ZoneInfo`, or `p` with the timedelta of pydantic's
fixed offset in a parsed time. Other tzinfo classes are refused.
"""

import pkgutil
import re
import struct
import sys
import zoneinfo
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from durable_graph.codec.plan import Mismatch, Refusal
from durable_graph.codec.scalars import LeafPlan
from durable_graph.codec.wire import DATE, DATETIME, TIME, TIMEDELTA

_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBI")
_DATETIME = struct.Struct(">HBBBBBI")
_DELTA = struct.Struct(">iII")
_FOLD = 1 << 31
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def _packaged_zones() -> frozenset[str]:
    try:
        # `importlib.resources` would import 20 modules for this.
        listed = pkgutil.get_data("tzdata", "zones")
    except OSError:
        listed = None
    return frozenset((listed or b"").decode().split())


# Read when this module is imported, because decoding and compiling may run in an event loop, and must not read files.
_PACKAGED_ZONES = _packaged_zones()

_zones: dict[str, zoneinfo.ZoneInfo] = {}
"""The zones of earlier values in this process. Only other zones need files to be read."""


def _zone_of(key: str) -> zoneinfo.ZoneInfo | None:
    """The zone with this key, if there is one."""
    zone = _zones.get(key)
    if zone is None and _exists(key):
        zone = _zones[key] = zoneinfo.ZoneInfo(key)
    return zone


def _exists(key: str) -> bool:
    # ZoneInfo(key) would look for a package named by the key, so it is called only with keys of existing zones.
    if not _ZONE_KEY.fullmatch(key):
        return False
    return key in _PACKAGED_ZONES or any(Path(root, key).is_file() for root in zoneinfo.TZPATH)


def _write_zone(zone: tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # typeshed lacks it
        written = b"o" + _write_delta(offset)
        return written + b"n" + name[0].encode("utf-8", "surrogatepass") if name else written
    if type(zone) is _zone_of_pydantic():
        return b"p" + _write_delta(zone.utcoffset(None) or timedelta())
    if type(zone) is zoneinfo.ZoneInfo and _comes_back(zone):
        return b"z" + zone.key.encode()
    raise Refusal(
        zone,
        "its zone is neither a datetime.timezone nor a zoneinfo.ZoneInfo with the key of an existing zone",
        "convert it with astimezone(ZoneInfo(...)) or astimezone(timezone.utc)",
    )


def _zone_of_pydantic() -> Any:
    """The class of pydantic's fixed offsets in parsed times, None if pydantic is not imported."""
    return getattr(sys.modules.get("pydantic_core"), "TzInfo", None)


def _comes_back(zone: zoneinfo.ZoneInfo) -> bool:
    # A zone made by from_file may have no key, or other rules than the zone with its key.
    key: str | None = zone.key
    if key is None:
        return False
    if _zones.get(key) is zone:
        return True
    try:
        known = zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError):
        return False
    if known is zone:
        _zones[key] = zone
    return known is zone


def _read_zone(data: bytes) -> tzinfo | None:
    if not data:
        return None
    kind, rest = data[:1], data[1:]
    if kind == b"z":
        key = rest.decode("ascii")
        zone = _zone_of(key)
        if zone is None:
            message = f"this machine has no time zone {key!r}; install the tzdata package"
            raise Mismatch(message)
        return zone
    if kind == b"p":
        return _read_zone_of_pydantic(rest)
    if kind != b"o":
        message = f"{data[:40]!r} is no time zone"
        raise Mismatch(message)
    offset, name = _read_delta(rest[: _DELTA.size]), rest[_DELTA.size :]
    if not name:
        return timezone(offset)
    if name[:1] != b"n":
        message = f"{name[:40]!r} is no name of a time zone"
        raise Mismatch(message)
    return timezone(offset, name[1:].decode("utf-8", "surrogatepass"))


def _read_zone_of_pydantic(data: bytes) -> tzinfo:
    made = _zone_of_pydantic()
    if made is None:
        message = "its time zone is one of pydantic, which is not imported"
        raise Mismatch(message)
    zone: tzinfo = made(_read_delta(data) // timedelta(seconds=1))
    return zone


def _write_date(value: date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _read_date(data: bytes) -> date:
    return date(*_DATE.unpack(data))


def _write_time(value: time) -> bytes:
    micros = value.microsecond | (_FOLD if value.fold else 0)
    return _TIME.pack(value.hour, value.minute, value.second, micros) + _write_zone(value.tzinfo)


def _read_time(data: bytes) -> time:
    hour, minute, second, micros = _TIME.unpack(data[: _TIME.size])
    return time(hour, minute, second, micros & ~_FOLD, _read_zone(data[_TIME.size :]), fold=micros // _FOLD)


def _write_datetime(value: datetime) -> bytes:
    micros = value.microsecond | (_FOLD if value.fold else 0)
    fields = _DATETIME.pack(value.year, value.month, value.day, value.hour, value.minute, value.second, micros)
    return fields + _write_zone(value.tzinfo)


def _read_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, micros = _DATETIME.unpack(data[: _DATETIME.size])
    zone = _read_zone(data[_DATETIME.size :])
    return datetime(year, month, day, hour, minute, second, micros & ~_FOLD, zone, fold=micros // _FOLD)


def _write_delta(value: timedelta) -> bytes:
    return _DELTA.pack(value.days, value.seconds, value.microseconds)


def _read_delta(data: bytes) -> timedelta:
    days, seconds, micros = _DELTA.unpack(data)
    return timedelta(days, seconds, micros)


TIMES: tuple[LeafPlan, ...] = (
    LeafPlan(date, DATE, _write_date, _read_date),
    LeafPlan(time, TIME, _write_time, _read_time),
    LeafPlan(datetime, DATETIME, _write_datetime, _read_datetime),
    LeafPlan(timedelta, TIMEDELTA, _write_delta, _read_delta),
)
