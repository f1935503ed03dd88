"""What can go wrong when data is asked for. All of it is a DataUnavailable, whose message is one sentence."""


class DataUnavailable(RuntimeError):
    """The data cannot be had here and now; the message says what to do."""


class ChecksumError(DataUnavailable):
    """A file or a download is not what datasets.toml describes."""


class UnknownData(DataUnavailable, ValueError):
    """No data set and no readable file has this name."""
