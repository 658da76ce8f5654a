"""`milepost doctor`: what works, what does not, and what to do about it."""

from milepost.doctor.command import doctor

__all__ = ["doctor"]
