"""The checklist of OpenAI's Videos contract, line by line, as code written for Sora would meet it.

Run as a program by an interpreter that has `openai` and nothing of Kinema: `python -m tests.journeys.conformance`.
"""
