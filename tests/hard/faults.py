"""What can be wrong with a region, each by one name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What a backend does instead of serving. `name` is how tables and schedules call it."""

    name: str
    status: int = 0
    # Seconds that a 429 names; None where it names none.
    retry_after: int | None = None
    # How much longer than usual everything takes.
    factor: float = 1.0
    # Seconds until the status comes.
    after: float = 0.0

    @property
    def leaves_untouched(self) -> bool:
        """Whether a request that met it has surely done nothing: it may be sent elsewhere whatever it is."""
        return self.name == "refuse" or self.status == 429

    @property
    def begins_well(self) -> bool:
        """Whether a response had begun, so that something may be stored where it is from."""
        return self.name in ("cut_midway", "error_event")


# The connection.
REFUSE = Fault("refuse")
RESET = Fault("reset")
CLOSE = Fault("close")  # the request is read, then the connection ends with nothing said
# Time.
SLOW = Fault("slow", factor=10.0)
SILENT = Fault("silent")
SILENT_AFTER_HEADERS = Fault("silent_after_headers")
# Errors.
E500 = Fault("500", status=500)
LATE_503 = Fault("late_503", status=503, after=1.5)
E502 = Fault("502", status=502)
E503 = Fault("503", status=503)
E400 = Fault("400", status=400)
E404 = Fault("404", status=404)
E410 = Fault("410", status=410)
# Limits.
LIMITED = Fault("429", status=429)
LIMITED_5 = Fault("429_retry_after_5", status=429, retry_after=5)
# Ends.
CUT = Fault("cut_midway")
ERROR_EVENT = Fault("error_event")
ERROR_FIRST = Fault("error_event_first")  # a 200 whose first event is an error
# What looks like success.
EMPTY = Fault("empty_200")
HTML = Fault("html_200")
NO_CONTENT = Fault("204")
EMPTY_STREAM = Fault("empty_stream")
FILTERED = Fault("filtered_stream")

ALL = [
    REFUSE,
    RESET,
    CLOSE,
    SLOW,
    SILENT,
    SILENT_AFTER_HEADERS,
    E500,
    LATE_503,
    E502,
    E503,
    E400,
    E404,
    E410,
    LIMITED,
    LIMITED_5,
    CUT,
    ERROR_EVENT,
    ERROR_FIRST,
    EMPTY,
    HTML,
    NO_CONTENT,
    EMPTY_STREAM,
    FILTERED,
]
BY_NAME = {fault.name: fault for fault in ALL}
