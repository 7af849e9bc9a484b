"""Schedules: a changed clock doubles and loses no run, and after an outage one run does the work of all."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.conftest import ROOT

CRONS = {
    schedule["cron"]
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for schedule in deployment.get("schedules", ())
    if "cron" in schedule
}


@pytest.mark.parametrize("cron", sorted({*CRONS, "30 1 * * *", "30 2 * * *", "0 3 * * *"}))
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("month", [3, 10])
def test_a_daily_run_is_due_once_a_day_when_the_clocks_change(cron: str, zone: str, month: int) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    local = ZoneInfo(zone)
    first = datetime(2027, month, 1, tzinfo=local)
    due = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(200, first, first + timedelta(days=50)))
    days = Counter(time.astimezone(local).date() for time in due)
    assert set(days.values()) == {1}
    assert (max(days) - min(days)).days + 1 == len(days)
