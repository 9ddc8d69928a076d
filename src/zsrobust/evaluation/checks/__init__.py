"""Checks: do these numbers contradict each other, and was the attack worth anything?"""
