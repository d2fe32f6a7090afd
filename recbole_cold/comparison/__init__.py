"""Tables of methods on backbones, from existing results and from runs of what is missing."""

from recbole_cold.comparison.campaign import Campaign
from recbole_cold.comparison.folders import new_folder, write_files
from recbole_cold.comparison.from_folders import from_folders
from recbole_cold.comparison.requests import CompareRequest

__all__ = [
    "Campaign",
    "CompareRequest",
    "from_folders",
    "new_folder",
    "write_files",
]
