"""Hands: Celery workers that claim stages of videos, the dispatcher, and the delivery of webhooks."""
