"""When and where something was measured: a figure without them means little."""

import platform
from datetime import UTC, datetime

import torch


def when_and_where() -> dict[str, str]:
    """Date (UTC) and machine."""
    threads = torch.get_num_threads()
    place = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{threads} CPU thread{'s' * (threads > 1)}"
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {place}, torch {torch.__version__}",
    }
