"""The position of the sun, with the precision that pictures need."""

import math
from datetime import UTC, date, datetime, timedelta


def sun_position(moment: datetime, lon: float, lat: float) -> tuple[float, float]:
    """Return azimuth (clockwise from north) and elevation in degrees, without the equation of time."""
    day = moment.timetuple().tm_yday
    declination = math.radians(-23.44 * math.cos(2 * math.pi * (day + 10) / 365.25))
    hours = moment.hour + moment.minute / 60 + moment.second / 3600 + lon / 15
    angle, phi = math.radians(15 * (hours - 12)), math.radians(lat)
    height = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(angle)
    east = -math.cos(declination) * math.sin(angle)
    north = math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(angle)
    return round(math.degrees(math.atan2(east, north)) % 360, 2), round(math.degrees(math.asin(height)), 2)


def passing(day: date, lon: float, local_hour: float, jitter: float = 0.0) -> datetime:
    """Return the time in UTC at which a satellite passes, for a local solar hour of a day. `jitter` is in minutes."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    moment = midnight + timedelta(hours=local_hour - lon / 15, minutes=jitter)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
