"""How fast, compared with the same work in bare SQL on the same server in the same run: `python -m benchmarks`.

An absolute figure says nothing on a shared machine, so each file here holds one question, and each question has two
sides that take turns: ours, and what it is held against, most often the floor (`floor.py`). The answers are in
`RESULTS.md`.
"""
