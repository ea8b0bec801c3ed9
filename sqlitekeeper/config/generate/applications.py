"""Applications known by their folders: databases that need no backup there, and uploaded files."""

import re
from collections.abc import Iterable
from pathlib import Path

# What Chromium, and what is built upon it, fills again by itself; names of 148.
_OF_CHROMIUM = frozenset(
    {"Favicons", "Top Sites", "Shortcuts", "Network Action Predictor", "QuotaManager"}
    | {"Reporting and NEL", "Trust Tokens", "DIPS", "SharedStorage", "Conversions"}
    | {"AggregationService", "PrivateAggregation", "InterestGroups", "BrowsingTopicsSiteData"}
    | {"Affiliation Database", "Safe Browsing Cookies", "heavy_ad_intervention_opt_out.db"}
    | {"first_party_sets.db", "MediaDeviceSalts", "BudgetDatabase", "ServerCertificate"}
)
_CACHE = "a cache of the browser, which fills it again"
_LOGS = "PocketBase's request logs; it makes an empty one where it is missing"
_PART_OF_KEY = re.compile(r"[0-9a-z]{2}")


def needs_no_backup(path: Path) -> str | None:
    """Why a database of a known application holds nothing worth a backup; None when it may."""
    folder = path.parent
    if path.name == "auxiliary.db" and (folder / "data.db").is_file():
        return _LOGS
    # Newer versions keep some of them one folder further down.
    profiles = (folder, folder.parent) if folder.name in ("Network", "Default") else (folder,)
    is_profile = any((one / "Preferences").is_file() for one in profiles)
    return _CACHE if is_profile and path.name in _OF_CHROMIUM else None


def uploads_beside(databases: Iterable[Path]) -> tuple[Path, ...]:
    """Folders of uploaded files beside these databases: PocketBase's and Active Storage's."""
    found = map(_uploads, dict.fromkeys(one.parent for one in databases))
    return tuple(dict.fromkeys(filter(None, found)))


def _uploads(folder: Path) -> Path | None:
    storage = folder / "storage"
    if (folder / "auxiliary.db").is_file() and (folder / "data.db").is_file() and storage.is_dir():
        return storage
    return next((one for one in (folder, storage) if _is_active_storage(one)), None)


def _is_active_storage(folder: Path) -> bool:
    """Whether a folder has files as ActiveStorage::Service::DiskService keeps them: ab/cd/abcd."""
    try:
        for first in _folders(folder):
            for second in _folders(first):
                if any(second.glob(f"{first.name}{second.name}*")):
                    return True
    except OSError:
        return False
    return False


def _folders(folder: Path) -> list[Path]:
    """The folders of two characters in it."""
    if not folder.is_dir():
        return []
    return [one for one in folder.iterdir() if _PART_OF_KEY.fullmatch(one.name) and one.is_dir()]
