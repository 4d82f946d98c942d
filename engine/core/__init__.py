"""The pure heart: inputs and a time go in, events and effects come out.

Nothing in here reads a clock, does I/O, awaits anything or draws its own random numbers.
"""
