"""The demo day: a whole consortium on one machine that settles a day of charging.

`city` reads or makes the stations and the cars, `plan` shares them out, `stage` sets nodes, broker and piles up,
`drivers` play the people, `faults` what goes wrong, `progress` shows it and `summary` audits it at the end.
"""
