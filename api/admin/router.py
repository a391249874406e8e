"""Every resource of the admin API under one prefix."""

from __future__ import annotations

from fastapi import APIRouter

from api.admin import admin_keys, audit, feedback, keys, quotas, tenants, usage, videos, workers
from api.openapi import FAILURES

router = APIRouter(prefix="/admin/v1", tags=["admin"], responses=FAILURES)
for _resource in (tenants, keys, quotas, usage, videos, workers, feedback, admin_keys, audit):
    router.include_router(_resource.router)
