"""The float fields that a configuration gives the model as inputs."""

from typing import Any

DEFAULT_COUNT_FIELD = "count"


def number_fields(config: Any) -> list[str]:
    """``numerical_features`` with the popularity and the time, where these are switched on.

    Args:
        config: answers ``config[key]`` with None for keys it does not know.
    """
    fields = list(config["numerical_features"] or [])
    if config["use_count"]:
        fields.append(config["COUNT_FIELD"] or DEFAULT_COUNT_FIELD)
    if config["use_timestamp"] and config["TIME_FIELD"]:
        fields.append(config["TIME_FIELD"])
    return list(dict.fromkeys(fields))
