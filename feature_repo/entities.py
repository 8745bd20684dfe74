"""Whom and what E2I's features are about. Every key is text and may hold underscores; keys are never joined into one."""

from __future__ import annotations

import e2i_fs as fs

__all__ = ["ENTITIES", "brand", "hcp", "patient", "territory", "trigger"]

hcp = fs.Entity("hcp", join_keys={"hcp_id": fs.String}, description="A health-care professional, at one site of care")
patient = fs.Entity("patient", join_keys={"patient_id": fs.String}, description="A patient, pseudonymous")
territory = fs.Entity("territory", join_keys={"territory_id": fs.String}, description="A sales territory")
brand = fs.Entity("brand", join_keys={"brand_id": fs.String}, description="A brand: one product in one formulation")
trigger = fs.Entity("trigger", join_keys={"trigger_id": fs.String}, description="One prompt to act, sent to an HCP")

ENTITIES = (hcp, patient, territory, brand, trigger)
