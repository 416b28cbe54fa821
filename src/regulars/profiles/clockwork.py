"""Hours and weekdays on the shop's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from regulars.core.arrays import Instants
from regulars.core.clock import DAY, HOUR, MINUTE, SECOND, Instant
from regulars.core.errors import SettingError

BIN = 15 * MINUTE  # clocks change at full quarter hours UTC
MONDAY = 3  # 1970-01-01 was a Thursday


class ShopClock:
    """Turns instants into the hour of the week, 0 = Monday 00:00; the zone is asked once for each quarter hour."""

    def __init__(self, timezone: str) -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise SettingError(
                "[shop] timezone", got=repr(timezone), wanted="an IANA zone such as Europe/Berlin"
            ) from error
        self._offsets: dict[int, int] = {}

    def hour_of_week(self, at: Instant) -> int:
        """Hour of the week of one instant."""
        local = at + self._offset(at // BIN)
        return (local // DAY + MONDAY) % 7 * 24 + local // HOUR % 24

    def hours_of_week(self, at: Instants) -> NDArray[np.int16]:
        """Hour of the week of every instant."""
        bins, where = np.unique(at // BIN, return_inverse=True)
        offsets = np.array([self._offset(int(each)) for each in bins], dtype=np.int64)
        local = at + offsets[where] if len(bins) else at
        return np.asarray((local // DAY + MONDAY) % 7 * 24 + local // HOUR % 24, dtype=np.int16)

    def local(self, at: Instant) -> datetime:
        """The shop's date and time of an instant."""
        return datetime.fromtimestamp(at / SECOND, tz=UTC).astimezone(self._zone)

    def _offset(self, quarter: int) -> int:
        offset = self._offsets.get(quarter)
        if offset is None:
            span = self._zone.utcoffset(
                datetime.fromtimestamp(quarter * BIN // SECOND, tz=UTC).astimezone(self._zone)
            )
            offset = self._offsets[quarter] = int(span.total_seconds()) * SECOND if span else 0
        return offset
